// The page of conf/chat.toml. It sends what the person types as plain text, and gets JSON objects: what the channel keeps
// with its position, `{channel, epoch, offset, message}`, and others with a `type`. After a loss of the connection it asks
// for what came after the last position. It shows unknown messages unchanged, so that the page also works with another
// TOML file. Everything from the server is put into the page as textContent, never as HTML.

const KEPT = 500; // lines in the log; older ones are removed, so that a long chat does not slow the page down
const LISTED = 200; // people shown by name
const LONGEST = 4096; // bytes; conf/chat.toml says `max_message 4KiB`
const GROUPED = 5 * 60_000; // ms within which messages of one person are grouped
const HUES = [15, 42, 68, 95, 125, 152, 188, 232, 260, 288, 316, 345]; // degrees in OKLCH that are easy to distinguish
const RETRY = { first: 500, last: 15_000, settled: 5_000, patience: 10_000 }; // ms

const $ = (id) => document.getElementById(id);
const log = $("messages");
const text = $("text");
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const calendar = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const collator = new Intl.Collator(undefined, { sensitivity: "base", numeric: true });

const people = new Map(); // id -> nick
let me = { id: "", nick: "" };
const mine = new Set(); // the ids of this tab, one for each connection
let position = ""; // up to which the channel has been read: EPOCH:OFFSET

// Storage. If the browser refuses it, the page does not remember anything.

function recall(storage, key) {
  try {
    return window[storage].getItem(`fws-chat-${key}`) ?? "";
  } catch {
    return "";
  }
}

function remember(storage, key, value) {
  try {
    window[storage].setItem(`fws-chat-${key}`, value);
  } catch {
    // Nothing to do: a variable has the value as long as the page is open.
  }
}

// Small pieces

function make(tag, className, content = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = content;
  return element;
}

// Chosen by FNV-1a of the name, so that everybody sees a person in the same colour, even after a reconnect with a new id.
function hue(nick) {
  let hash = 2166136261;
  for (const char of nick) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  return HUES[(hash >>> 8) % HUES.length];
}

function tint(element, nick) {
  element.style.setProperty("--hue", hue(nick));
}

function avatar(nick) {
  const element = make("span", "avatar", initial(nick));
  element.ariaHidden = "true";
  return element;
}

function initial(nick) {
  return (Array.from(nick)[0] ?? "?").toLocaleUpperCase();
}

// Inside `bdi`, a right-to-left name does not change the direction of the sentence.
const named = (nick) => make("bdi", "", nick);

function enumerate(nicks, most) {
  const shown = nicks.slice(0, most);
  if (nicks.length > most) shown.push(`${nicks.length - most} more`);
  const parts = new Intl.ListFormat("en-GB").formatToParts(shown);
  return parts.map((part) => (part.type === "element" ? named(part.value) : part.value));
}

const bytes = (line) => new TextEncoder().encode(line).length;
const announce = (words) => { $("announcement").textContent = words; };

// The log

let stuck = true; // whether the log is at the bottom and stays there when messages arrive
let settling = 0; // the animation frame that will scroll there
let reached = 0; // the last scroll position of the log
let unread = 0; // messages below the fold
let unseen = 0; // messages while the tab was hidden
let day = "";
let last = null; // the message that a next one may join
let happening = null; // the line about joins or leaves that a next one may extend

function append(element, kind) {
  log.append(element);
  if (log.childElementCount > KEPT) trim();
  if (kind !== "message") last = null;
  if (kind !== "event") happening = null;
  if (stuck) toBottom();
}

function trim() {
  // A reader further up keeps their place. Fifty lines at a time, because browsers round positions to whole pixels.
  const height = stuck ? 0 : log.scrollHeight;
  const kept = stuck ? KEPT : KEPT - 50;
  while (log.childElementCount > kept) log.firstElementChild.remove();
  // The first message of a group may have been removed. The next one then shows the name.
  log.firstElementChild.classList.remove("continued");
  if (!stuck) log.scrollTop -= height - log.scrollHeight;
}

// Once per frame, because a layout for each of 1,500 messages took ten seconds.
function toBottom() {
  stuck = true;
  unread = 0;
  $("newer").hidden = true;
  settling ||= requestAnimationFrame(() => {
    settling = 0;
    log.scrollTop = log.scrollHeight;
  });
}

function count(own) {
  if (document.hidden && !own) {
    unseen += 1;
    document.title = `(${unseen}) The lobby`;
  }
  if (own) toBottom();
  if (stuck) return;
  unread += 1;
  $("newer").textContent = unread === 1 ? "1 new message ↓" : `${unread} new messages ↓`;
  $("newer").hidden = false;
}

function startDay(at) {
  if (at.toDateString() === day) return;
  day = at.toDateString();
  append(make("div", "day", calendar.format(at)), "day");
}

function showMessage(message) {
  const { id, nick, body, at } = message;
  const own = mine.has(id);
  startDay(at);
  const continued = message.type === "said" && last?.id === id && last.nick === nick && at - last.at < GROUPED;

  const article = make("article", `message ${message.type}`);
  article.dataset.id = id;
  article.classList.toggle("own", own);
  article.classList.toggle("continued", continued);
  article.classList.toggle("emoji", isEmoji(body));
  tint(article, nick);

  const header = make("header", "");
  const time = make("time", "", clock.format(at));
  time.dateTime = at.toISOString();
  header.append(avatar(nick), make("bdi", "nick", nick), time);
  const words = make("p", "text");
  words.append(...linked(body));
  words.dir = "auto";
  words.title = moment.format(at);
  article.append(header, words);

  append(article, "message");
  last = message.type === "said" ? message : null;
  count(own);
}

// The full stop after a link and the bracket around it are not part of the link. Brackets within it are.
const LINK = /(https?:\/\/(?:\([^\s()<>"]*\)|[^\s()<>"])*(?:\([^\s()<>"]*\)|[^\s()<>"'.,;:!?\]}]))/i;

function linked(body) {
  return body.split(LINK).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = make("a", "", part);
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    return link;
  });
}

function isEmoji(body) {
  return /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}\u200d\ufe0f ]{1,16}$/u.test(body);
}

// Joins that follow one another share a line, and so do leaves.
function showEvent(kind, id, nick) {
  if (happening?.kind === kind) {
    happening.names.set(id, nick);
  } else {
    const element = make("p", "event");
    append(element, "event");
    happening = { kind, element, names: new Map([[id, nick]]) };
  }
  happening.element.replaceChildren(...enumerate([...happening.names.values()], 4), ` ${kind}`);
  if (stuck) toBottom();
}

function showLine(...parts) {
  const element = make("p", "event");
  element.append(...parts);
  append(element, "line");
}

function showNotice(...parts) {
  const element = make("div", "notice");
  const words = make("span", "");
  words.dir = "auto";
  words.append(...parts);
  element.append(make("small", "", "Only for you"), words);
  append(element, "notice");
}

// The people

let listing = 0;

function listPeople() {
  listing ||= setTimeout(() => {
    listing = 0;
    const byName = (a, b) => collator.compare(people.get(a), people.get(b));
    const ids = [...people.keys()].sort((a, b) => (b === me.id) - (a === me.id) || byName(a, b));
    const items = ids.slice(0, LISTED).map((id) => {
      const item = make("li", "");
      item.dataset.id = id;
      tint(item, people.get(id));
      item.append(avatar(people.get(id)), make("bdi", "", people.get(id)));
      if (id === me.id) item.append(make("small", "", "you"));
      return item;
    });
    if (ids.length > LISTED) items.push(make("li", "rest", `and ${ids.length - LISTED} more`));
    $("people").replaceChildren(...items);
    for (const element of document.querySelectorAll(".count")) element.textContent = people.size;
    $("me").querySelector("bdi").textContent = me.nick || "not known yet";
    $("me").querySelector(".avatar").textContent = initial(me.nick);
    tint($("me"), me.nick);
  }, 30); // many people that join at once are drawn once
}

function setPeople(list) {
  people.clear();
  for (const person of Array.isArray(list) ? list : []) people.set(String(person?.id), String(person?.nick));
}

// The person's own name. A tab keeps its name. A new tab begins with the name chosen last, unless it is taken.

let wanted = recall("sessionStorage", "name") || recall("localStorage", "name");
let owned = recall("sessionStorage", "name") !== "";
let asking = ""; // "", "page" or "person": which of them waits for the answer to /nick

function ask(nick, who) {
  asking = who;
  socket.send(`/nick ${nick}`);
}

function keepName(nick) {
  wanted = nick;
  owned = true;
  remember("sessionStorage", "name", nick);
  remember("localStorage", "name", nick);
}

// The previous owner of the name, perhaps this tab's own lost connection, is gone.
function nameFreed(nick) {
  if (nick === wanted && me.nick !== wanted) ask(wanted, "page");
}

function answered(body) {
  const who = asking;
  asking = "";
  if (who === "page" && !owned) wanted = "";
  if (who === "person" && $("naming").open) $("naming-error").textContent = body;
  else showNotice(body);
}

$("me").addEventListener("click", () => {
  openDrawer(false);
  $("name").value = me.nick || wanted;
  $("naming-error").textContent = "";
  $("naming").showModal();
  $("name").select();
});

$("cancel").addEventListener("click", () => $("naming").close());

$("naming-form").addEventListener("submit", (submission) => {
  submission.preventDefault();
  const nick = $("name").value.trim();
  $("naming-error").textContent = nick ? "" : "A name needs at least one character.";
  if (!nick) return;
  if (nick !== me.nick && isOpen()) {
    ask(nick, "person");
    return;
  }
  if (nick !== me.nick) keepName(nick);
  $("naming").close();
});

// Messages from the server

function receive(data) {
  let message = parse(data);
  if (Number.isInteger(message?.offset)) {
    position = `${message.epoch}:${message.offset}`;
    if ("message" in message) message = message.message;
  }
  const id = String(message?.id);
  const nick = String(message?.nick);
  const at = new Date(message?.time ?? Date.now());
  switch (message?.type) {
    case "welcome":
      me = { id, nick };
      mine.add(id);
      people.clear();
      people.set(id, nick);
      if (wanted && wanted !== nick) ask(wanted, "page");
      break;
    case "said":
    case "did": {
      const body = String(message.text);
      if (mine.has(id)) delivered(body);
      showMessage({ type: message.type, id, nick, body, at: Number.isNaN(at.getTime()) ? new Date() : at });
      return;
    }
    case "presence":
      showPresence(message);
      break;
    case "position":
      return;
    case "gap":
      showLine("Some lines are missing here: more was said than the server keeps");
      return;
    case "renamed":
      renamed(id, nick, String(message.was));
      break;
    case "people":
      setPeople(message.people);
      showNotice("Here now: ", ...enumerate([...people.values()].sort(collator.compare), 30));
      break;
    case "notice":
      answered(String(message.text));
      return;
    default:
      showNotice(typeof data === "string" ? data : "(binary data)");
      return;
  }
  listPeople();
}

function showPresence({ present, joined, changed, left }) {
  for (const id of names(left)) {
    const nick = people.get(String(id));
    if (nick === undefined) continue;
    people.delete(String(id));
    showEvent("left", String(id), nick);
    nameFreed(nick);
  }
  for (const person of [...names(present), ...names(joined), ...names(changed)]) {
    if (person?.was !== undefined) people.delete(String(person.was));
    people.set(String(person?.client), String(person?.info?.nick));
  }
  for (const person of names(joined)) {
    if (person?.client !== me.id) showEvent("joined", String(person?.client), String(person?.info?.nick));
  }
}

const names = (list) => (Array.isArray(list) ? list : []);

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

function renamed(id, nick, was) {
  const own = id === me.id;
  if (!people.has(id)) return; // an old line, of somebody who has left
  const restored = own && asking === "page";
  people.set(id, nick);
  if (own) {
    me.nick = nick;
    keepName(nick);
    if (asking === "person") $("naming").close();
    asking = "";
  }
  // People who come back take their name at once, so that one line is enough.
  if (happening?.kind === "joined" && happening.names.has(id)) showEvent("joined", id, nick);
  else if (own && !restored) showLine("You are now ", named(nick));
  else if (!own) showLine(named(was), " is now ", named(nick));
  nameFreed(was);
}

// The connection

let socket = null;
let attempts = 0;
let openedAt = 0;
let lostAt = 0;
let retryAt = 0;
let ticker = 0;

const isOpen = () => socket?.readyState === WebSocket.OPEN;

function connect() {
  clearInterval(ticker);
  setState("connecting", "connecting…");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const since = position ? `?since=${encodeURIComponent(position)}` : "";
  const attempt = (socket = new WebSocket(`${scheme}://${location.host}${location.pathname}${since}`));
  const patience = setTimeout(() => attempt.close(), RETRY.patience);

  attempt.addEventListener("open", () => {
    clearTimeout(patience);
    openedAt = Date.now();
    setState("open", "connected");
    announce("Connected");
    if (lostAt) showLine(`Connected again after ${span(openedAt - lostAt)}; what was said meanwhile follows`);
    lostAt = 0;
  });
  attempt.addEventListener("message", (arrival) => receive(arrival.data));
  attempt.addEventListener("close", () => {
    clearTimeout(patience);
    // Only a connection that lasted counts as a success, so that a server that accepts and closes is not flooded.
    if (openedAt && Date.now() - openedAt > RETRY.settled) attempts = 0;
    if (openedAt) {
      lostAt = Date.now();
      announce("Connection lost, reconnecting");
      giveBack();
    }
    openedAt = 0;
    asking = "";
    wait();
  });
}

// Exponential backoff. Half of it is random, so that a thousand pages do not reconnect at once after a restart.
function wait() {
  const longest = Math.min(RETRY.last, 2 * RETRY.first * 2 ** attempts);
  attempts += 1;
  retryAt = Date.now() + longest * (0.5 + Math.random() / 2);
  ticker = setInterval(tick, 250);
  tick();
}

function tick() {
  const left = retryAt - Date.now();
  if (left <= 0) {
    connect();
    return;
  }
  const words = navigator.onLine ? "reconnecting" : "offline, trying again";
  setState("waiting", `${words} in ${Math.ceil(left / 1000)} s`);
}

function hurry() {
  if ($("status").dataset.state === "waiting") connect();
}

function span(ms) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  return seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

function setState(state, words) {
  $("status").dataset.state = state;
  $("status-text").textContent = words;
  $("send").disabled = state !== "open";
  hint();
}

window.addEventListener("online", hurry);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unseen = 0;
  document.title = "The lobby";
  hurry();
});
$("retry").addEventListener("click", () => {
  hurry();
  text.focus();
});

// Writing. Text that was sent and did not arrive visibly is put back into the field when the connection is lost.

let underway = [];
let returned = []; // given back, and perhaps arrived

function submit() {
  const line = text.value.trim();
  if (!line || !isOpen() || bytes(line) > LONGEST) return;
  socket.send(line);
  if (!line.startsWith("/") || line.startsWith("/me ")) underway = [...underway.slice(-19), line];
  text.value = "";
  written();
  toBottom();
}

// The server answers in order, so that everything sent before this line has been handled too.
function delivered(body) {
  underway.splice(0, underway.findIndex((line) => line.endsWith(body.trim())) + 1 || 1);
  // It was given back when the connection was lost, and had arrived all the same.
  const line = returned.find((one) => one.endsWith(body.trim()));
  if (line === undefined) return;
  returned.splice(returned.indexOf(line), 1);
  const lines = text.value.split("\n");
  if (!lines.includes(line)) return;
  lines.splice(lines.indexOf(line), 1);
  text.value = lines.join("\n");
  written();
}

function giveBack() {
  returned = [...returned, ...underway].slice(-20);
  text.value = [...underway, text.value].filter(Boolean).join("\n");
  underway = [];
  written();
}

function written() {
  remember("sessionStorage", "draft", text.value);
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
  hint();
}

function hint() {
  const waiting = $("status").dataset.state !== "open" && attempts > 0;
  const excess = bytes(text.value.trim()) - LONGEST;
  let words = "";
  if (waiting) words = "Not connected. What you write stays here until you can send it.";
  else if (excess > 0) words = `Too long to send by ${excess} bytes.`;
  if ($("hint-text").textContent !== words) $("hint-text").textContent = words;
  $("hint").classList.toggle("shown", words !== "");
  $("retry").hidden = !waiting;
}

text.addEventListener("input", written);
text.addEventListener("keydown", (key) => {
  // While an input method composes, Enter is meant for the input method.
  if (key.key !== "Enter" || key.shiftKey || key.isComposing) return;
  key.preventDefault();
  submit();
});
$("composer").addEventListener("submit", (submission) => {
  submission.preventDefault();
  submit();
  text.focus();
});

// Scrolling, and the drawer with the people on a narrow screen

log.addEventListener("scroll", () => {
  // Only scrolling up leaves the bottom, because messages since the last frame may have moved the end meanwhile.
  const near = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  stuck = near || (stuck && log.scrollTop >= reached);
  reached = log.scrollTop;
  if (near && unread) toBottom();
}, { passive: true });
new ResizeObserver(() => stuck && toBottom()).observe(log);
$("newer").addEventListener("click", () => {
  toBottom();
  text.focus();
});

const narrow = matchMedia("(width < 48rem)"); // the same width as in chat.css

function openDrawer(open) {
  const was = document.body.classList.contains("drawer-open");
  document.body.classList.toggle("drawer-open", open);
  $("room").inert = open;
  $("show-people").ariaExpanded = String(open);
  if (open) $("hide-people").focus();
  else if (was && narrow.matches) $("show-people").focus();
}

$("show-people").addEventListener("click", () => openDrawer(true));
$("hide-people").addEventListener("click", () => openDrawer(false));
$("shade").addEventListener("click", () => openDrawer(false));
narrow.addEventListener("change", () => openDrawer(false));
document.addEventListener("keydown", (key) => {
  if (key.key === "Escape" && document.body.classList.contains("drawer-open")) openDrawer(false);
});

text.value = recall("sessionStorage", "draft");
written();
listPeople();
// On a touch screen, focus would open the keyboard over the conversation.
if (matchMedia("(hover: hover)").matches) text.focus();
connect();
