// The page of conf/app.toml. Your site would write the token of whoever has signed in into the page; to try things out it is
// in the address behind #, which the browser sends to nobody. Everything that arrives is put into the page as text.

const KEPT = 100; // notifications in the list
const RETRY = { first: 500, last: 15_000 }; // ms

const token = location.hash.slice(1);
const list = document.getElementById("list");
const status = document.getElementById("status");
let position = ""; // up to which notifications have been read: EPOCH:OFFSET
let wait = RETRY.first;

function connect() {
  const since = position && `?since=${encodeURIComponent(position)}`;
  show("connecting", "connecting …");
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/notifications${since}`);
  socket.onopen = () => socket.send(JSON.stringify({ token })); // first of all, who this is
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = ({ code }) => {
    if (code === 4401) return show("closed", "The token is not valid, or has expired. Open a new link.");
    show("waiting", "no connection; trying again …");
    setTimeout(connect, wait * (0.5 + Math.random() / 2));
    wait = Math.min(wait * 2, RETRY.last);
  };
}

function receive(data) {
  wait = RETRY.first;
  if (!("epoch" in data)) return; // such as the warning that the token is about to expire
  position = `${data.epoch}:${data.offset}`;
  show("open", "connected");
  if (data.type === "gap") append("Some notifications are missing.");
  else if (typeof data.message === "string") append(data.message);
  else if ("message" in data) append(data.message?.text ?? JSON.stringify(data.message));
}

function append(text) {
  const item = document.createElement("li");
  item.dir = "auto";
  item.textContent = text;
  list.prepend(item);
  if (list.childElementCount > KEPT) list.lastElementChild.remove();
}

function show(state, words) {
  status.dataset.state = state;
  status.textContent = words;
}

addEventListener("hashchange", () => location.reload()); // another link was opened in this tab
if (token) connect();
else show("closed", "This page needs a token: README.md has the command that makes a link.");
