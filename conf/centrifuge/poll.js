// The page of conf/centrifuge.toml. Each vote is a publication, `{vote, at}`, with the id and the name of its author. The
// last vote of everybody who is present counts. Everything from the server is shown as textContent, never as HTML.

import { Client } from "./client.js";

const CHANNEL = "poll";
const KEPT = 500; // votes that are remembered; conf/centrifuge.toml has the same number
const LINES = 60; // in the list of what happened
const FACES = 12; // shown for one answer
const AWAY = 5_000; // ms
const HUES = [15, 42, 68, 95, 125, 152, 188, 232, 260, 288, 316, 345]; // degrees in OKLCH that are easy to distinguish
const KINDS = ["Brave", "Calm", "Early", "Gentle", "Happy", "Honest", "Keen", "Lucky", "Merry", "Quick", "Quiet", "Wise"];
const ANIMALS = ["Badger", "Crane", "Dormouse", "Finch", "Hare", "Heron", "Hoopoe", "Lynx", "Marten", "Otter", "Owl", "Wren"];

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" });
const answers = [...document.querySelectorAll("#answers button")];
const one = (list) => list[Math.floor(Math.random() * list.length)];

const present = new Map(); // id -> name
const votes = new Map(); // id -> vote
const said = new Map(); // name -> vote, as the list shows it
let mine = recall("vote");
let lostAt = 0; // ms, as of Date.now()
let away = 0; // seconds between the last two connections

function recall(key) {
  try {
    return sessionStorage.getItem(`fws-poll-${key}`) ?? "";
  } catch {
    return ""; // the browser refuses storage; the page then remembers nothing
  }
}

function remember(key, value) {
  try {
    sessionStorage.setItem(`fws-poll-${key}`, value);
  } catch {
    // The variable has the value as long as the page is open.
  }
}

const me = recall("name") || `${one(KINDS)} ${one(ANIMALS)}`;
remember("name", me);

// What is shown

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...content);
  return element;
}

// FNV-1a of the name, so that everybody sees a person in the same colour.
function tinted(element, name) {
  let hash = 2166136261;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  element.style.setProperty("--hue", HUES[(hash >>> 8) % HUES.length]);
  return element;
}

function face(name) {
  const letters = name.split(" ").map((word) => Array.from(word)[0] ?? "").slice(0, 2).join("");
  const element = tinted(make("span", "face", letters.toUpperCase()), name);
  element.title = name;
  return element;
}

const bold = (name) => make("bdi", "", name === me ? "You" : name);

function tell(at, ...words) {
  const time = make("time", "", clock.format(at));
  time.dateTime = at.toISOString();
  $("log").prepend(make("li", "", time, make("span", "", ...words)));
  while ($("log").childElementCount > LINES) $("log").lastElementChild.remove();
}

const tellNow = (...words) => tell(new Date(), ...words);
const number = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

let drawing = 0;

function draw() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    const ids = [...present.keys()];
    const counted = ids.filter((id) => votes.has(id));
    const most = Math.max(1, ...answers.map((answer) => counted.filter((id) => votes.get(id) === answer.value).length));
    for (const answer of answers) {
      const names = counted.filter((id) => votes.get(id) === answer.value).map((id) => present.get(id));
      answer.ariaPressed = String(mine === answer.value);
      answer.classList.toggle("leads", names.length === most);
      answer.style.setProperty("--share", counted.length ? names.length / counted.length : 0);
      answer.querySelector(".count").textContent = names.length;
      answer.querySelector(".faces").replaceChildren(...names.slice(0, FACES).map(face));
      answer.ariaLabel = `${answer.querySelector(".label").textContent}: ${number(names.length, "vote")}`;
    }
    $("total").textContent = `${counted.length} of ${ids.length} here ${counted.length === 1 ? "has" : "have"} voted`;
    const people = [...present].sort(([a], [b]) => (b === client.id) - (a === client.id));
    $("people").replaceChildren(...people.slice(0, 100).map(([id, name]) => {
      const item = make("li", "", face(name), make("bdi", "", name));
      item.dataset.id = id;
      if (id === client.id) item.append(make("small", "", "you"));
      return item;
    }));
  });
}

// What others do

const nameOf = (info) => String(info?.chan_info?.name ?? "Somebody");

function count({ data, info }, { silent = false } = {}) {
  const id = String(info?.client);
  const answer = answers.find(({ value }) => value === data?.vote);
  if (!answer) return;
  votes.delete(id); // so that the order is that of the last votes
  votes.set(id, answer.value);
  for (const old of votes.keys()) if (votes.size > KEPT && !present.has(old)) votes.delete(old);
  const name = nameOf(info);
  // A client that has returned votes again, because it has another id. That is no news.
  if (!silent && said.get(name) !== answer.value) tell(new Date(data.at), bold(name), ` chose ${answer.value}`);
  said.set(name, answer.value);
  draw();
}

const handlers = {
  async subscribed({ returned, recovered, missed }) {
    if (returned) {
      if (recovered) tellNow(`Back after ${away} s: ${missed ? `${number(missed, "vote")} recovered` : "nothing was missed"}`);
      else tellNow(`Back after ${away} s: the server has forgotten what was missed`);
    }
    try {
      if (!recovered) {
        votes.clear();
        for (const pub of await client.history(CHANNEL, KEPT)) count(pub, { silent: true });
      }
      present.clear();
      for (const info of await client.presence(CHANNEL)) present.set(info.client, nameOf(info));
      if (mine && votes.get(client.id) !== mine) await client.publish(CHANNEL, { vote: mine });
    } catch (error) {
      tellNow(`This did not work: ${error.message}`);
    }
    draw();
  },
  publication: (pub) => count(pub),
  join(info) {
    if (info.client !== client.id && !present.has(info.client)) tellNow(bold(nameOf(info)), " came");
    present.set(info.client, nameOf(info));
    draw();
  },
  leave(info) {
    if (present.delete(info.client) && info.client !== client.id) tellNow(bold(nameOf(info)), " left");
    draw();
  },
};

// The connection

const WORDS = { connecting: "connecting…", open: "connected", waiting: "connection lost, trying again…", closed: "offline" };

function show(state) {
  if (state === "waiting" || state === "closed") lostAt ||= Date.now();
  if (state === "open") {
    away = Math.max(1, Math.round((Date.now() - lostAt) / 1000));
    lostAt = 0;
  }
  $("status").dataset.state = state;
  $("status-text").textContent = WORDS[state];
  $("leave").disabled = $("ask").disabled = state !== "open";
}

const scheme = location.protocol === "https:" ? "wss" : "ws";
const client = new Client(`${scheme}://${location.host}/connection/websocket?name=${encodeURIComponent(me)}`, show);
client.subscribe(CHANNEL, handlers);
client.connect();

// What this person does

for (const answer of answers) {
  answer.addEventListener("click", async () => {
    mine = answer.value;
    remember("vote", mine);
    draw();
    if ($("status").dataset.state !== "open") {
      tellNow("You are offline: your vote is sent when you are back");
      return;
    }
    try {
      await client.publish(CHANNEL, { vote: mine });
    } catch (error) {
      tellNow(`Your vote was not counted: ${error.message}`);
    }
  });
}

$("leave").addEventListener("click", () => {
  client.disconnect();
  tellNow(`Offline for ${AWAY / 1000} s. Vote in the other tab meanwhile`);
  setTimeout(() => client.connect(), AWAY);
});

$("ask").addEventListener("click", async () => {
  const began = performance.now();
  try {
    const { at } = await client.rpc("clock", {});
    tellNow(`The server's clock says ${clock.format(new Date(at))}; the answer took ${Math.ceil(performance.now() - began)} ms`);
  } catch (error) {
    tellNow(`The server has not said what time it is: ${error.message}`);
  }
});

tellNow("You are ", make("bdi", "", me), ". Vote, or watch what the others choose");
draw();
