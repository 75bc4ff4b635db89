// The page for operators. Everything that it shows or does is a call of the API, with the cookie of the login.
// What comes from clients, such as names and messages, becomes text and never markup.
"use strict";

const API = document.documentElement.dataset.api;
const MAX_LINES = 500; // of a tap
const MAX_ROWS = 200; // of channels and histories
const PAGE = 50; // clients
const TIMEOUT = 30_000;

const $ = (id) => document.getElementById(id);

/** An element with properties and children; a text child is text. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make the children of an element those of a list. What stays, stays the same element, and keeps the focus. */
function keyed(parent, items, key, make, update = () => {}) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, place) => {
    const name = String(key(item));
    const child = old.get(name) ?? make(item);
    child.dataset.key = name;
    old.delete(name);
    update(child, item);
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  for (const child of old.values()) child.remove();
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show names and texts in a `dl` of the class `facts`. */
function facts(list, entries) {
  keyed(
    list,
    entries,
    ([name]) => name,
    ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
    (fact, [, text]) => put(fact.lastChild, text),
  );
}

/** A form that calls `search` with what is typed, when the typing pauses, and what follows its field. */
function searchForm(properties, search, ...children) {
  const field = h("input", { type: "search", ...properties });
  const run = () => search(field.value.trim());
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(run, 300);
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return [h("form", { class: "filter", role: "search", onsubmit: submit }, field, ...children), run];
}

/** A pattern that matches this text only. */
const literal = (text) => text.replace(/[*?[]/g, (mark) => `[${mark}]`);

// Numbers and times.

const whole = new Intl.NumberFormat("en");
const number = (value) => whole.format(value);

function rate(value) {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  return value >= 100 || Number.isInteger(value) ? number(Math.round(value)) : value.toFixed(1);
}

function micro(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} ms`;
  return `${value.toFixed(0)} µs`;
}

function duration(seconds) {
  if (seconds < 1) return "now";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

const now = () => Date.now() / 1000;
const ago = (at) => (now() - at < 1 ? "just now" : `${duration(now() - at)} ago`);
const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
const moment = (at) => new Date(at * 1000).toLocaleString("en-GB");

function bytes(size) {
  for (const [limit, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (size >= limit) return `${(size / limit).toFixed(1)} ${unit}`;
  }
  return `${number(size)} B`;
}

function plural(count, one, several = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : several}`;
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value) ?? "");

// What is said to everybody, screen readers included.

let noticeTimer = 0;

function problem(text) {
  put($("problem"), text);
  $("problem").hidden = !text;
}

function notice(text) {
  put($("notice"), text);
  $("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => ($("notice").hidden = true), 4000);
}

// The API.

class Away extends Error {}
class LoggedOut extends Error {}

let me = null; // the key, and what it permits

const may = (name) => me !== null && me.methods.includes(name);

/** A POST with the session's cookie. Without a timeout the answer may go on for ever. */
async function post(path, body, signal = undefined, timeout = TIMEOUT) {
  const signals = [signal, timeout && AbortSignal.timeout(timeout)].filter(Boolean);
  try {
    return await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.any(signals),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Away("The server does not answer.");
  }
}

/** The answer of a method, with `result`, `error` or `replies`. */
async function ask(name, request = {}, signal = undefined) {
  const response = await post(`${API}/${name}`, request, signal);
  if (response.status === 401) throw new LoggedOut((await response.text()).trim());
  if (response.status >= 502) throw new Away("The server does not answer.");
  if (!response.ok) throw new Error((await response.text()).trim().slice(0, 300));
  try {
    return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Away("The server has gone in the middle of an answer.");
  }
}

async function call(name, request = {}, signal = undefined) {
  const answer = await ask(name, request, signal);
  if (answer.error) throw new Error(answer.error.message);
  return answer.result;
}

/** Several methods in one request: the results by name, and null with the sentence in `errors` for what failed. */
async function several(requests, signal) {
  const names = Object.keys(requests);
  const answer = await ask("batch", { commands: names.map((name) => ({ [name]: requests[name] })) }, signal);
  const found = { errors: {} };
  names.forEach((name, place) => {
    const reply = answer.replies[place];
    found[name] = reply[name] ?? null;
    if (reply.error) found.errors[name] = reply.error.message;
  });
  return found;
}

/** Do something that the operator has asked for, and say what became of it. */
async function act(what, done) {
  try {
    const result = await what();
    problem("");
    if (done) notice(typeof done === "function" ? done(result) : done);
    polling.start();
    return result;
  } catch (error) {
    if (error instanceof LoggedOut) leave(error.message);
    else problem(error.message);
    return null;
  }
}

// One request at a time, and none while nobody looks.

const polling = {
  stopped: new AbortController(),

  /** Ask now, and from now on again and again. */
  start() {
    this.stop();
    if (me === null || document.hidden) return;
    this.stopped = new AbortController();
    this.run(view, this.stopped.signal);
  },

  stop() {
    this.stopped.abort();
  },

  async run(present, signal) {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const answer = await present.load(signal);
        if (signal.aborted) return;
        present.render(answer);
        if (failures) problem("");
        failures = 0;
        state("live", "live");
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof LoggedOut) return leave(error.message);
        failures += 1;
        state("away", "away");
        const again = error instanceof Away ? " This page tries again by itself." : "";
        problem(`${error.message}${again}`);
      }
      await pause(failures ? Math.min(1000 * 2 ** (failures - 1), 10_000) : present.pause, signal);
    }
  },
};

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

function state(name, text) {
  $("state").dataset.state = name;
  put($("state"), text);
}

// Views. Each has what it needs (`needs`), what it asks (`load`), and what it shows (`render`).

function card(title, ...children) {
  return h("section", { class: "card" }, title === null ? null : h("h2", {}, title), ...children);
}

function empty(text) {
  return h("p", { class: "muted empty" }, text);
}

function table(names, label, kind = "") {
  const body = h("tbody");
  const head = h("tr", {}, ...names.map(([name, kind]) => h("th", { scope: "col", class: kind ?? "" }, name)));
  return [h("table", { class: kind, ariaLabel: label }, h("thead", {}, head), body), body];
}

function cell(name, kind, ...children) {
  return h("td", { class: kind, data: { name } }, ...children);
}

// Pipelines.

const pipelines = {
  name: "pipelines",
  title: "Pipelines",
  needs: "stages",
  pause: 100, // the server answers after the time that it has measured
  shape: "",
  refused: "",

  open(main) {
    this.shape = this.refused = "";
    this.totals = h("dl", { class: "totals" });
    this.picture = h("div", { class: "picture" }, empty("Measuring…"));
    main.append(this.totals, this.picture);
    this.first = true;
  },

  async load(signal) {
    const answer = await call("stages", { seconds: this.first ? 0.5 : 2 }, signal);
    this.first = false;
    return answer;
  },

  render(answer) {
    head(answer.file, answer.generation);
    const totals = [
      ["clients", number(answer.clients)],
      ["messages in", `${rate(answer.in)}/s`],
      ["messages out", `${rate(answer.out)}/s`],
      ["loop lag", `${answer.lag.toFixed(1)} ms`],
      ["generation", `${answer.generation} (${duration(answer.generation_age)})`],
      ["workers", number(answer.workers)],
    ];
    keyed(
      this.totals,
      totals,
      (one) => one[0],
      ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
      (element, one) => put(element.lastChild, one[1]),
    );
    this.totals.children[3].dataset.level = answer.lag > 200 ? "bad" : answer.lag > 50 ? "warn" : "";
    const shape = JSON.stringify(answer.pipelines.map((one) => [one.title, one.event, skeleton(one.stages)]));
    if (shape !== this.shape) this.draw(answer.pipelines);
    this.shape = shape;
    let place = 0;
    const fill = (stages) => {
      for (const stage of stages) {
        this.boxes[place++](stage);
        for (const branch of stage.branches) fill(branch.stages);
      }
    };
    for (const one of answer.pipelines) fill(one.stages);
    if (answer.refused) problem(`The last reload was refused: ${answer.refused}`);
    else if (this.refused) problem("");
    this.refused = answer.refused;
  },

  draw(list) {
    this.boxes = [];
    const groups = new Map();
    for (const one of list) groups.set(one.title, [...(groups.get(one.title) ?? []), one]);
    const cards = [...groups].map(([title, found]) =>
      card(
        title,
        ...found.map((one) =>
          h(
            "section",
            { class: "pipeline", ariaLabel: `${title} ${one.event}` },
            this.flow(one.stages, one.path, h("span", { class: "cat" }, "cat ", h("b", {}, one.event))),
          ),
        ),
      ),
    );
    this.picture.replaceChildren(...(cards.length ? cards : [empty("This file has no pipelines.")]));
  },

  /** Stages in a row. What follows a branching stage begins on a line of its own. */
  flow(stages, path, start) {
    const flow = h("div", { class: "flow" });
    let line = h("ol", { class: "line" }, h("li", {}, start));
    flow.append(line);
    for (const stage of stages) {
      if (line === null) flow.append((line = h("ol", { class: "line" })));
      const [box, fill] = this.box(stage, path);
      this.boxes.push(fill);
      line.append(h("li", {}, h("span", { class: "pipe", ariaHidden: "true" }, "|"), box));
      if (stage.branches.length) {
        const branches = stage.branches.map((branch) =>
          h("li", {}, this.flow(branch.stages, path, h("span", { class: "label" }, branch.label))),
        );
        flow.append(h("ul", { class: "branches" }, ...branches));
        line = null;
      }
    }
    return flow;
  },

  box(stage, path) {
    const tapping = may("tap");
    const [name, ...more] = stage.text.split(" ");
    const title = h(
      "span",
      { class: "name" },
      stage.chain ? h("i", {}, `${stage.chain}/`) : null,
      h("b", {}, name),
      more.length ? h("span", { class: "arguments" }, ` ${more.join(" ")}`) : null,
    );
    const speed = h("span", { class: "rate" });
    const times = h("span", { class: "times" });
    const trouble = h("span", { class: "trouble" });
    const inside = [title, h("span", { class: "numbers" }, speed, times, trouble)];
    const box = tapping
      ? h("button", { type: "button", class: "box", onclick: () => tap.open(path, stage.stage, box) }, ...inside)
      : h("div", { class: "box" }, ...inside);
    box.title = `${path} ${stage.stage}${stage.place ? `, ${stage.place}` : ""}\n${stage.text}`;
    return [
      box,
      (found) => {
        // To drop is what many filters are for. To refuse or to close concerns a client.
        const level = found.error > 0 ? "bad" : found.refuse + found.close > 0 ? "warn" : found.drop > 0 ? "drop" : "";
        box.dataset.level = level || (found.p99 > 100_000 ? "slow" : "");
        box.classList.toggle("idle", found.rate === 0);
        box.parentElement.classList.toggle("flows", found.rate > 0);
        put(speed, `${rate(found.rate)}/s`);
        put(times, found.rate ? `p50 ${micro(found.p50)} · p99 ${micro(found.p99)}` : "");
        const marks = [
          [found.drop, "dropped"],
          [found.refuse, "refused"],
          [found.close, "closed"],
          [found.error, "faults"],
        ];
        put(trouble, marks.filter((mark) => mark[0] > 0).map((mark) => `${rate(mark[0])}/s ${mark[1]}`).join(", "));
      },
    ];
  },
};

const skeleton = (stages) =>
  stages.map((one) => [one.stage, one.text, one.place, one.branches.map((b) => [b.label, skeleton(b.stages)])]);

// Clients.

const clients = {
  name: "clients",
  title: "Clients",
  needs: "clients",
  pause: 2500,
  by: "user",
  text: "",
  offset: 0,

  open(main) {
    const by = h(
      "select",
      { name: "by", ariaLabel: "Search by" },
      ...["user", "address", "channel", "client", "path"].map((name) => h("option", { value: name }, name)),
    );
    by.value = this.by;
    this.count = h("span", { class: "muted count", role: "status" });
    this.back = h("button", { type: "button", onclick: () => this.turn(-PAGE) }, "Back");
    this.next = h("button", { type: "button", onclick: () => this.turn(PAGE) }, "Next");
    const search = (text) => {
      [this.by, this.text, this.offset] = [by.value, text, 0];
      polling.start();
    };
    const field = { name: "text", ariaLabel: "Search", placeholder: "search", value: this.text };
    const pages = [this.count, h("span", { class: "grow" }), this.back, this.next];
    const [form, run] = searchForm(field, search, ...pages);
    form.prepend(by);
    by.addEventListener("change", run);
    const [list, body] = table(
      [["User"], ["Client"], ["Address"], ["Path"], ["Channels", "right"], ["Waiting", "right"], ["Worker", "right"]],
      "Clients",
      "compact",
    );
    this.body = body;
    this.none = empty("No client.");
    main.append(card(null, form, list, this.none));
    this.banned = h("ul", { class: "bans" });
    this.banhint = empty("");
    if (may("bans")) main.append(card("Bans", this.banned, this.banhint));
  },

  turn(by) {
    this.offset = Math.max(0, this.offset + by);
    polling.start();
  },

  load(signal) {
    const request = { limit: PAGE, offset: this.offset };
    if (this.text) request[this.by] = this.text;
    return several({ clients: request, ...(may("bans") ? { bans: {} } : {}) }, signal);
  },

  render(answer) {
    if (answer.errors.clients) throw new Error(answer.errors.clients);
    const { total, clients: found } = answer.clients;
    const from = found.length ? this.offset + 1 : 0;
    put(this.count, total ? `${number(from)}–${number(this.offset + found.length)} of ${number(total)}` : "");
    this.back.hidden = this.next.hidden = total <= PAGE;
    this.back.disabled = this.offset === 0;
    this.next.disabled = this.offset + found.length >= total;
    this.none.hidden = found.length > 0;
    this.body.parentElement.hidden = !found.length;
    keyed(
      this.body,
      found,
      (one) => one.client,
      (one) => {
        const open = h("button", { type: "button", class: "link", onclick: () => details.open(one) }, one.user || "(no user)");
        const row = h("tr", {}, cell("User", "", open), cell("Client", "code", one.client));
        row.append(cell("Address", "code", one.address || "–"), cell("Path", "code", one.path));
        row.append(cell("Channels", "right"), cell("Waiting", "right"), cell("Worker", "right", String(one.worker || "–")));
        return row;
      },
      (row, one) => {
        put(row.children[4], number(one.channels.length));
        put(row.children[5], bytes(one.waiting));
      },
    );
    const bans = answer.bans?.bans ?? [];
    put(this.banhint, answer.errors.bans ?? (bans.length ? "" : "Nobody is banned."));
    this.banhint.hidden = bans.length > 0;
    keyed(
      this.banned,
      bans,
      (ban) => `${ban.kind} ${ban.name} ${ban.until}`,
      (ban) =>
        h(
          "li",
          {},
          h("span", {}, `${ban.kind} `, h("b", { class: "code" }, ban.name)),
          h("span", { class: "muted" }, ban.until ? `until ${moment(ban.until)}` : "for ever"),
          may("unban")
            ? h("button", { type: "button", onclick: () => unban(ban), ariaLabel: `Unban ${ban.kind} ${ban.name}` }, "Unban")
            : null,
        ),
    );
  },
};

const details = {
  open(client) {
    put($("detailstitle"), client.user || client.client);
    const list = h("dl", { class: "facts" });
    facts(list, [
      ["Client", client.client],
      ["User", client.user || "–"],
      ["Address", client.address || "–"],
      ["Path", client.path],
      ["Token", client.token || "–"],
      ["Waiting", bytes(client.waiting)],
      ["Worker", String(client.worker || "–")],
    ]);
    const joined = client.channels.map((name) =>
      h("li", {}, may("channels") ? h("button", { type: "button", class: "link", onclick: () => this.channel(name) }, name) : name),
    );
    const buttons = h("div", { class: "buttons" });
    const button = (text, run, kind = "danger") => buttons.append(h("button", { type: "button", class: kind, onclick: run }, text));
    if (may("tap")) button("Tap", () => ($("details").close(), tap.open("", "", null, { client: client.client })), "");
    if (may("disconnect")) button("Kick", () => kick(client));
    if (may("ban")) {
      if (client.user) button("Ban user", () => ban("user", client.user));
      if (client.address) button("Ban address", () => ban("address", client.address));
      if (client.token) button("Ban token", () => ban("token", client.token));
    }
    $("detailsbody").replaceChildren(
      list,
      h("h3", {}, plural(client.channels.length, "channel")),
      h("ul", { class: "names" }, ...joined),
      buttons,
    );
    $("details").showModal();
  },

  channel(name) {
    $("details").close();
    channels.select(name);
    location.hash = "#channels";
  },
};

function confirmed(title, text, yes, long = false) {
  put($("confirmtitle"), title);
  put($("confirmtext"), text);
  put($("confirmyes"), yes);
  $("confirmlong").hidden = !long;
  $("confirm").returnValue = "";
  $("confirm").showModal();
  return new Promise((resolve) =>
    $("confirm").addEventListener("close", () => resolve($("confirm").returnValue === "yes"), { once: true }),
  );
}

async function kick(client) {
  const who = client.user ? `${client.user} (${client.client})` : client.client;
  if (!(await confirmed("Kick", `End the connection of ${who}? The client may connect again.`, "Kick"))) return;
  $("details").close();
  await act(() => call("disconnect", { user: client.user, client: client.client }), `${who} was kicked.`);
}

async function ban(kind, name) {
  const text = `Refuse the ${kind} ${name}, and end its connections?`;
  if (!(await confirmed("Ban", text, "Ban", true))) return;
  $("details").close();
  const seconds = Number($("confirmseconds").value);
  await act(() => call("ban", { kind, name, seconds }), `The ${kind} ${name} is banned.`);
}

async function unban(one) {
  await act(() => call("unban", { kind: one.kind, name: one.name }), `The ${one.kind} ${one.name} is not banned any more.`);
}

// Channels.

const channels = {
  name: "channels",
  title: "Channels",
  needs: "channels",
  pause: 2500,
  text: "",
  selected: null,

  open(main) {
    const search = (text) => {
      this.text = text;
      polling.start();
    };
    this.count = h("span", { class: "muted count", role: "status" });
    const field = { ariaLabel: "Search channels", placeholder: "part of a name", value: this.text };
    const [form] = searchForm(field, search, this.count);
    const [list, body] = table([["Channel"], ["Members", "right"]], "Channels", "compact");
    this.body = body;
    this.none = empty("No channel has members.");
    this.title_ = h("h2", {});
    this.hint = h("p", { class: "muted" });
    this.members = h("ul", { class: "names" });
    this.memberstitle = h("h3", {}, "Members");
    this.historytitle = h("h3", {}, "History");
    this.history = h("ol", { class: "history", tabIndex: 0, ariaLabel: "History" });
    this.panel = h("section", { class: "card", ariaLabel: "Channel" });
    this.panel.append(this.title_, this.memberstitle, this.members, this.historytitle, this.history);
    main.append(h("div", { class: "two" }, card(null, form, list, this.none), this.panel));
  },

  select(name) {
    this.selected = name;
    polling.start();
  },

  load(signal) {
    const pattern = this.text ? `*${literal(this.text)}*` : "";
    const requests = { channels: { pattern } };
    if (this.selected !== null) {
      requests.presence = { channel: this.selected };
      requests.history = { channel: this.selected, limit: MAX_ROWS, reverse: true };
      if (may("clients")) requests.clients = { channel: this.selected, limit: MAX_ROWS };
    }
    return several(requests, signal);
  },

  render(answer) {
    if (answer.errors.channels) throw new Error(answer.errors.channels);
    const all = Object.entries(answer.channels.channels);
    all.sort((one, other) => other[1].num_clients - one[1].num_clients || (one[0] < other[0] ? -1 : 1));
    const first = all.slice(0, MAX_ROWS);
    put(this.count, all.length > MAX_ROWS ? `${MAX_ROWS} of ${number(all.length)}` : all.length ? number(all.length) : "");
    this.none.hidden = all.length > 0;
    this.body.parentElement.hidden = !all.length;
    keyed(
      this.body,
      first,
      (one) => one[0],
      ([name]) => {
        const open = h("button", { type: "button", class: "link code", onclick: () => this.select(name) }, name);
        return h("tr", {}, cell("Channel", "", open), cell("Members", "right"));
      },
      (row, [name, one]) => {
        put(row.children[1], number(one.num_clients));
        row.toggleAttribute("data-selected", name === this.selected);
      },
    );
    this.panel.hidden = this.selected === null;
    if (this.selected === null) return;
    put(this.title_, this.selected);
    this.people(answer);
    const members = [...Object.values(answer.presence?.presence ?? {}), ...(answer.clients?.clients ?? [])];
    const users = new Map(members.map((member) => [member.client, member.user]));
    const kept = answer.history?.publications ?? [];
    const more = answer.history ? `: ${number(kept.length)}${kept.length === MAX_ROWS ? " newest" : ""}` : "";
    put(this.historytitle, answer.errors.history ? `History: ${answer.errors.history}` : `History${more}`);
    keyed(
      this.history,
      kept,
      (one) => `${answer.history.epoch} ${one.offset}`,
      (one) => {
        const who = one.info?.user || users.get(one.info?.client) || one.info?.client || "";
        return h(
          "li",
          {},
          h("span", { class: "muted right" }, String(one.offset)),
          h("span", { class: "muted who", title: one.info?.client ?? "" }, who),
          h("span", { class: "code" }, one.b64data === undefined ? shown(one.data) : `(binary) ${one.b64data}`),
        );
      },
    );
  },

  /** Those who are present on all nodes, or without presence the clients of this node. */
  people(answer) {
    let people = [];
    let title = `Members: ${answer.errors.presence ?? ""}`;
    if (answer.presence) {
      people = Object.values(answer.presence.presence);
      title = `Members, on all nodes: ${number(people.length)}`;
    } else if (answer.clients) {
      people = answer.clients.clients;
      title = `Members, on this node: ${number(answer.clients.total)}`;
    }
    put(this.memberstitle, title);
    const first = people.slice(0, MAX_ROWS);
    keyed(
      this.members,
      first,
      (one) => one.client,
      (one) => h("li", {}, one.user ? `${one.user} ` : "", h("span", { class: "muted code" }, one.client)),
    );
  },
};

// Faults.

const faults = {
  name: "faults",
  title: "Faults",
  needs: "faults",
  pause: 3000,

  open(main) {
    this.list = h("div", { class: "faults" });
    this.none = empty("No fault in the last hour.");
    main.append(card("Faults of the last hour", this.none, this.list));
  },

  load(signal) {
    return call("faults", {}, signal);
  },

  render({ faults: found }) {
    this.none.hidden = found.length > 0;
    keyed(
      this.list,
      found,
      (one) => `${one.event} ${one.where} ${one.what.split(":")[0]} ${one.first}`,
      () => {
        const summary = h("summary", {}, h("b", { class: "what" }), h("span", { class: "muted where" }), h("span", { class: "count" }));
        return h("details", {}, summary, h("dl", { class: "facts" }), h("pre", { tabIndex: 0 }));
      },
      (element, one) => {
        const [what, where, count] = element.firstChild.children;
        put(what, one.what);
        put(where, one.stage || one.event);
        put(count, `${number(one.count)}×, ${ago(one.last)}`);
        facts(element.children[1], [
          ["Stage", one.stage ? `${one.stage}${one.place ? `, ${one.place}` : ""}` : "–"],
          ["Where", one.where || "–"],
          ["Last client", one.client || "–"],
          ["First", moment(one.first)],
          ["Last", moment(one.last)],
        ]);
        put(element.lastChild, one.stack);
        element.lastChild.hidden = !one.stack;
      },
    );
  },
};

// Generation.

const generation = {
  name: "generation",
  title: "Generation",
  needs: "generation",
  pause: 2500,

  open(main) {
    this.facts = h("dl", { class: "facts" });
    this.buttons = h("div", { class: "buttons" });
    if (may("reload")) {
      const dry = h("button", { type: "button", onclick: () => this.reload(true) }, "What would change?");
      const real = h("button", { type: "button", class: "primary", onclick: () => this.reload(false) }, "Reload");
      this.buttons.append(dry, real);
    }
    this.report = h("div");
    this.last = h("div");
    main.append(card("Generation", this.facts, this.buttons, this.report), card("Last reload", this.last));
  },

  async reload(dry) {
    if (!dry && !(await confirmed("Reload", "Put what the file says now in force?", "Reload"))) return;
    for (const button of this.buttons.children) button.disabled = true;
    const report = await act(() => call("reload", { dry_run: dry }), dry ? null : (found) => `The reload: ${found.status}.`);
    for (const button of this.buttons.children) button.disabled = false;
    this.report.replaceChildren(...(report && dry ? [h("h3", {}, `A reload now: ${report.status}`), diff(report.lines)] : []));
  },

  load(signal) {
    return call("generation", {}, signal);
  },

  render(answer) {
    head(answer.file, answer.generation);
    facts(this.facts, [
      ["File", answer.file],
      ["Generation", number(answer.generation)],
      ["In force since", `${moment(answer.since)} (${ago(answer.since)})`],
    ]);
    const { last } = answer;
    const key = JSON.stringify(last);
    if (this.last.dataset.key === key) return;
    this.last.dataset.key = key;
    this.last.replaceChildren(
      ...(last === null
        ? [empty("There was none since the server began.")]
        : [h("p", {}, h("b", { class: "outcome", data: { status: last.status } }, last.status), ` at ${moment(last.at)}`), diff(last.lines)]),
    );
  },
};

/** The lines of a report, each in the colour of its mark. Only changes have columns; a caret stays where it is. */
function diff(lines) {
  const text = (line) => (/^[-+~!]/.test(line) ? line.replace(/ {2,}/g, "  ") : line);
  return h("pre", { class: "diff", tabIndex: 0 }, ...lines.map((line) => h("span", { data: { mark: line.slice(0, 1) } }, `${text(line)}\n`)));
}

// Nodes.

const nodes = {
  name: "nodes",
  title: "Nodes",
  needs: "nodes",
  pause: 2500,

  open(main) {
    this.redis = h("p", {});
    const [workers, workersbody] = table(
      [["Worker"], ["Process", "right"], ["Clients", "right"], ["Status"]],
      "Workers of this node",
    );
    const [list, body] = table(
      [["Node"], ["Clients", "right"], ["Users", "right"], ["Channels", "right"], ["CPU", "right"], ["Memory", "right"], ["Up", "right"], ["Version"]],
      "All nodes",
    );
    [this.workers, this.body] = [workersbody, body];
    main.append(card("Redis", this.redis), card("Workers of this node", workers), card("All nodes", list));
  },

  load(signal) {
    return call("nodes", {}, signal);
  },

  render(answer) {
    const text = { ok: "Redis is reached.", none: "Without Redis: this process is alone, and keeps everything in memory." };
    put(this.redis, text[answer.redis] ?? answer.redis);
    this.redis.className = answer.redis === "ok" ? "good" : answer.redis === "none" ? "muted" : "bad";
    const own = new Set(answer.workers.map((one) => one.uid));
    const update = (values) => (row, one) => values(one).forEach((value, place) => put(row.children[place], value));
    const make = (names) => () => h("tr", {}, ...names.map(([name, kind]) => cell(name, kind)));
    keyed(
      this.workers,
      answer.workers,
      (one) => one.pid,
      make([["Worker", ""], ["Process", "right"], ["Clients", "right"], ["Status", "status"]]),
      (row, one) => {
        update(() => [one.worker ? String(one.worker) : "the only one", String(one.pid), number(one.clients)])(row, one);
        put(row.children[3], one.reason ? `${one.status}: ${one.reason}` : one.status);
        row.children[3].dataset.status = one.status;
      },
    );
    keyed(
      this.body,
      answer.nodes,
      (one) => one.uid,
      make([["Node", "code"], ["Clients", "right"], ["Users", "right"], ["Channels", "right"], ["CPU", "right"], ["Memory", "right"], ["Up", "right"], ["Version", ""]]),
      update((one) => [
        `${one.name}${own.has(one.uid) ? " (here)" : ""}`,
        number(one.num_clients ?? 0),
        number(one.num_users ?? 0),
        number(one.num_channels ?? 0),
        `${one.process?.cpu ?? 0} %`,
        bytes(one.process?.rss ?? 0),
        duration(one.uptime ?? 0),
        one.version ?? "",
      ]),
    );
  },
};

// The tap: what passes through a stage, line by line.

const tap = {
  request: null,
  paused: false,
  several: false, // stages, so that a line says which
  opener: null,
  stopped: new AbortController(),

  /** Tap one stage, or all with an empty one. */
  open(path, stage, opener = null, filter = {}) {
    this.request = { stage: stage ? literal(`${path} ${stage}`) : "" };
    this.opener = opener;
    put($("tapped"), stage ? `${path} ${stage}` : "all stages");
    $("tapfilter").reset();
    for (const [name, value] of Object.entries(filter)) $("tapfilter").elements[name].value = value;
    $("tap").hidden = false;
    document.body.classList.add("tapping");
    this.hold(false);
    this.clear();
    this.start();
    $("lines").focus({ preventScroll: true });
  },

  close() {
    this.stop();
    this.request = null;
    $("tap").hidden = true;
    document.body.classList.remove("tapping");
    this.opener?.focus();
  },

  start() {
    this.stop();
    if (this.request === null || document.hidden) return;
    const form = $("tapfilter").elements;
    const wanted = { user: form.user.value.trim(), client: form.client.value.trim(), channel: form.channel.value.trim() };
    const outcomes = form.outcome.value ? form.outcome.value.split(",") : [];
    this.stopped = new AbortController();
    this.follow({ ...this.request, ...wanted, outcomes }, this.stopped.signal);
  },

  stop() {
    this.stopped.abort();
  },

  clear() {
    $("lines").replaceChildren();
  },

  hold(paused) {
    this.paused = paused;
    $("tappause").setAttribute("aria-pressed", String(paused));
    put($("tappause"), paused ? "Go on" : "Pause");
    this.missed = 0;
  },

  async follow(request, signal) {
    put($("tapstate"), "waiting");
    try {
      const response = await post(`${API}/tap`, request, signal, 0);
      if (response.status === 401) return leave((await response.text()).trim());
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        const text = await response.text();
        throw new Error(response.ok ? JSON.parse(text).error.message : text.trim());
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        this.take(parts);
      }
      throw new Error("the tap has ended.");
    } catch (error) {
      if (!signal.aborted) put($("tapstate"), `${error.message} Filter again to start anew.`);
    }
  },

  take(parts) {
    const lines = [];
    for (const part of parts) {
      if (part.startsWith("event: error")) throw new Error(`${JSON.parse(part.split("data: ")[1]).message}.`);
      if (!part.startsWith("data: ")) continue;
      const line = JSON.parse(part.slice(6));
      if (line.tapping !== undefined) {
        this.several = line.tapping > 1;
        put($("tapstate"), `live: ${plural(line.tapping, "stage")}`);
      } else if (this.paused) this.missed += line.skipped ?? 1;
      else if (line.skipped) lines.push(h("li", { class: "muted" }, `${number(line.skipped)} skipped`));
      else if (line.stage) lines.push(this.line(line));
    }
    if (this.paused) put($("tapstate"), `paused: ${number(this.missed)} not shown`);
    const list = $("lines");
    const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
    list.append(...lines);
    while (list.children.length > MAX_LINES) list.firstChild.remove();
    if (follows) list.scrollTop = list.scrollHeight;
  },

  line(line) {
    const passed = line.outcome === "pass";
    return h(
      "li",
      { data: { outcome: line.outcome } },
      h("time", { class: "muted" }, clock(line.at)),
      h("span", { class: "muted client" }, line.client || line.channel || "–"),
      this.several ? h("span", { class: "muted" }, this.request.stage ? line.stage : `${line.path} ${line.stage}`) : null,
      passed ? null : h("b", { class: "outcome" }, `${line.outcome} ${line.why ?? ""}`.trim()),
      line.in === undefined ? null : h("span", { class: "value" }, shown(line.in)),
      line.out === undefined || shown(line.out) === shown(line.in) ? null : h("span", { class: "value" }, `→ ${shown(line.out)}`),
    );
  },
};

// The frame: login, navigation, keys.

const VIEWS = [pipelines, clients, channels, faults, generation, nodes];
let view = pipelines;

function head(file, number_) {
  put($("file"), `${file.split("/").pop()} · generation ${number_}`);
  $("file").title = file;
  document.title = `${file.split("/").pop()} – fws`;
}

function show() {
  if (me === null) return;
  const permitted = VIEWS.filter((one) => may(one.needs));
  view = permitted.find((one) => `#${one.name}` === location.hash) ?? permitted[0];
  keyed(
    $("nav"),
    permitted,
    (one) => one.name,
    (one) => h("a", { href: `#${one.name}` }, one.title),
    (link, one) => (one === view ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")),
  );
  $("main").replaceChildren(h("h1", { class: "hidden" }, view.title));
  problem("");
  view.open($("main"));
  polling.start();
}

async function enter() {
  try {
    if (!(await (await post("session", {})).json())) return leave("");
    me = await call("key");
  } catch (error) {
    if (error instanceof LoggedOut) return leave("");
    problem(error.message);
    setTimeout(enter, 3000);
    return;
  }
  problem("");
  $("entry").hidden = true;
  $("app").hidden = false;
  put($("who"), `${me.name}${may("reload") ? "" : ", read-only"}`);
  show();
}

function leave(why) {
  me = null;
  polling.stop();
  if (tap.request !== null) tap.close();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  $("main").replaceChildren();
  $("app").hidden = true;
  $("entry").hidden = false;
  problem("");
  put($("wrong"), why);
  $("key").value = "";
  $("key").focus();
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  put($("wrong"), "");
  try {
    const response = await post("login", { key: $("key").value });
    if (!response.ok) {
      put($("wrong"), (await response.text()).trim().slice(0, 300));
      $("key").select();
      return;
    }
    $("key").value = "";
    await enter();
    $("main").focus();
  } catch (error) {
    put($("wrong"), error.message);
  }
});

$("logout").addEventListener("click", async () => {
  try {
    await post("logout", {});
    leave("");
  } catch (error) {
    problem(error.message);
  }
});

$("tapfilter").addEventListener("submit", (event) => {
  event.preventDefault();
  tap.clear();
  tap.start();
});
$("tappause").addEventListener("click", () => {
  tap.hold(!tap.paused);
  if (!tap.paused) put($("tapstate"), "live");
});
$("tapclear").addEventListener("click", () => tap.clear());
$("tapclose").addEventListener("click", () => tap.close());
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && tap.request !== null && !document.querySelector("dialog[open]")) tap.close();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    polling.stop();
    tap.stop();
  } else if (me !== null) {
    polling.start();
    tap.start();
  }
});
window.addEventListener("hashchange", show);
enter();
