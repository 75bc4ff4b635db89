"""The generated reference: filters, settings and the JSON Schema."""
