"""The HTTP API: what back ends may ask of a server, declared once, and the application that answers them."""
