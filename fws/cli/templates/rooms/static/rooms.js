// The page of conf/app.toml. Everything that arrives is put into the page as text, never as HTML.

const KEPT = 500; // lines in the log
const TYPING = 4000; // ms for which somebody counts as typing
const RETRY = { first: 500, last: 15_000 }; // ms

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });

let socket = null; // null at the door
let mine = new Set(); // the ids of this tab, one for each connection
let position = ""; // up to which the room has been read: EPOCH:OFFSET
let wait = RETRY.first;
let retry = 0;
const people = new Map(); // id -> name
const typing = new Map(); // id -> [name, timer]

function connect() {
  const path = ["rooms", $("room").value, $("name").value].map(encodeURIComponent).join("/");
  const since = position && `?since=${encodeURIComponent(position)}`;
  show("connecting", "connecting …");
  socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/${path}${since}`);
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onopen = () => show("open", "connected");
  socket.onclose = (event) => {
    if (event.target !== socket) return; // this tab has left the room
    show("waiting", "no connection; trying again …");
    retry = setTimeout(connect, wait * (0.5 + Math.random() / 2));
    wait = Math.min(wait * 2, RETRY.last);
  };
}

function receive(data) {
  wait = RETRY.first;
  if ("epoch" in data) position = `${data.epoch}:${data.offset}`;
  if (data.message) return said(data.message);
  switch (data.type) {
    case "you": return mine.add(data.id);
    case "gap": return note("Some lines are missing.");
    case "typing": return types(data);
    case "presence": return present(data);
  }
  if (data.error) note(data.error);
}

function said({ id, name, text, at }) {
  stopTyping(id);
  const line = document.createElement("p");
  const time = document.createElement("time");
  time.dateTime = at;
  time.textContent = clock.format(new Date(at));
  const who = document.createElement("strong");
  who.append(isolated(name));
  const what = document.createElement("span");
  what.dir = "auto";
  what.textContent = text;
  line.append(time, " ", who, " ", what);
  line.classList.toggle("own", mine.has(id));
  append(line);
}

function note(text) {
  const line = document.createElement("p");
  line.className = "note";
  line.textContent = text;
  append(line);
}

function append(line) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  if (log.childElementCount > KEPT) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function present({ present, joined = [], changed = [], left = [], clients }) {
  if (present) people.clear();
  for (const { client, info, was } of [...(present ?? []), ...joined, ...changed]) {
    people.delete(was);
    people.set(client, info?.name ?? "?");
  }
  for (const id of left) {
    people.delete(id);
    stopTyping(id);
  }
  const items = [...people].map(([id, name]) => {
    const item = document.createElement("li");
    item.append(isolated(name), mine.has(id) ? " (you)" : "");
    return item;
  });
  $("people").replaceChildren(...items);
  $("here").textContent = `Here now: ${clients}`; // with very many people, the list is not complete
}

function types({ id, name }) {
  stopTyping(id);
  typing.set(id, [name, setTimeout(stopTyping, TYPING, id)]);
  showTyping();
}

function stopTyping(id) {
  if (!typing.has(id)) return;
  clearTimeout(typing.get(id)[1]);
  typing.delete(id);
  showTyping();
}

function showTyping() {
  const names = [...typing.values()].map(([name]) => name);
  $("typing").textContent = names.length > 3 ? "Several people are typing …"
    : names.length ? `${new Intl.ListFormat("en").format(names)} ${names.length > 1 ? "are" : "is"} typing …` : "";
}

// Inside `bdi`, a right-to-left name does not change the direction of the line.
function isolated(name) {
  const element = document.createElement("bdi");
  element.textContent = name;
  return element;
}

function show(state, words) {
  $("status").dataset.state = state;
  $("status").textContent = words;
}

function send(message) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = new URLSearchParams({ room: $("room").value }); // a link to this page leads to the same room
  $("title").textContent = $("room").value;
  $("door").hidden = true;
  $("inside").hidden = false;
  $("text").focus();
  connect();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("text").value.trim() && send({ type: "text", text: $("text").value })) $("text").value = "";
});

$("text").addEventListener("input", () => send({ type: "typing" })); // the server lets one in two seconds through

$("leave").addEventListener("click", () => {
  clearTimeout(retry);
  const old = socket;
  socket = null;
  old.close();
  position = "";
  mine = new Set();
  people.clear();
  for (const id of [...typing.keys()]) stopTyping(id);
  $("log").replaceChildren();
  $("people").replaceChildren();
  $("inside").hidden = true;
  $("door").hidden = false;
  $("room").focus();
});

$("room").value = new URLSearchParams(location.hash.slice(1)).get("room") ?? "lobby";
