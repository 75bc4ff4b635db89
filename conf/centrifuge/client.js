// A small client of Centrifugo's protocol, version 2: JSON over a WebSocket. It is here so that the page loads nothing
// from elsewhere, and so that you can read what goes over the wire. An application uses an SDK instead, such as
// https://github.com/centrifugal/centrifuge-js, which also has tokens, HTTP transports, time-outs and much more.
//
// Each line is a command or a reply. A reply has the id of its command, and a push has none: docs/protocols.md.

const RETRY = { first: 500, last: 15_000 }; // ms
const GRACE = 10_000; // ms by which a ping may be late

// After these codes of a close frame, the same connection would be refused again.
const isFinal = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);

export class Client {
  id = ""; // given by the server, and new for each connection
  #url;
  #changed; // called with "connecting", "open", "waiting" or "closed"
  #socket = null;
  #lastId = 0;
  #calls = new Map(); // id of a command -> what settles its promise
  #subscriptions = new Map(); // channel -> handlers and position
  #attempts = 0;
  #retry = 0;
  #silence = 0;

  constructor(url, changed) {
    this.#url = url;
    this.#changed = changed;
  }

  connect() {
    clearTimeout(this.#retry);
    this.#changed("connecting");
    const socket = (this.#socket = new WebSocket(this.#url));
    socket.onopen = () => this.#open(socket).catch(() => socket.close());
    socket.onmessage = ({ data }) => data.split("\n").filter(Boolean).forEach((line) => this.#receive(JSON.parse(line)));
    socket.onclose = ({ code }) => socket === this.#socket && this.#lost(isFinal(code));
  }

  disconnect() {
    this.#socket.close();
    this.#lost(true);
  }

  // Subscribe now, and again with each connection. The handlers are `subscribed`, `publication`, `join` and `leave`.
  subscribe(channel, handlers) {
    this.#subscriptions.set(channel, { handlers, position: null });
  }

  publish = (channel, data) => this.#call("publish", { channel, data });
  rpc = (method, data) => this.#call("rpc", { method, data }).then((result) => result.data);
  presence = (channel) => this.#call("presence", { channel }).then((result) => Object.values(result.presence ?? {}));
  history = (channel, limit) => this.#call("history", { channel, limit }).then((result) => result.publications ?? []);

  async #open(socket) {
    const { client, ping = 0 } = await this.#call("connect", {});
    this.id = client;
    this.#attempts = 0;
    // The server pings. If it does not, the connection is dead, although nobody may ever say so.
    const watch = () => {
      clearTimeout(this.#silence);
      if (ping) this.#silence = setTimeout(() => socket.close(), ping * 1000 + GRACE);
    };
    socket.addEventListener("message", watch);
    watch();
    this.#changed("open");
    await Promise.all([...this.#subscriptions.keys()].map((channel) => this.#subscribe(channel)));
  }

  // With the position up to which it has read the channel, a client that returns gets what it has missed.
  async #subscribe(channel) {
    const subscription = this.#subscriptions.get(channel);
    const recovery = subscription.position && { recover: true, ...subscription.position };
    const result = await this.#call("subscribe", { channel, ...recovery });
    const { recoverable, epoch = "", offset = 0, publications = [], was_recovering = false, recovered = false } = result;
    subscription.position = recoverable ? { epoch, offset } : null;
    subscription.handlers.subscribed({ returned: was_recovering, recovered, missed: publications.length });
    publications.forEach(subscription.handlers.publication);
  }

  #call(name, request) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) throw new Error("not connected");
      this.#calls.set(id, { resolve: (reply) => resolve(reply[name]), reject });
      this.#socket.send(JSON.stringify({ id, [name]: request }));
    });
  }

  #receive(reply) {
    const call = this.#calls.get(reply.id);
    this.#calls.delete(reply.id);
    if (call) reply.error ? call.reject(new Error(reply.error.message)) : call.resolve(reply);
    else if (reply.push) this.#push(reply.push);
    else this.#socket.send("{}"); // an empty reply is a ping, and this is the pong
  }

  #push({ channel, pub, join, leave, unsubscribe }) {
    const subscription = this.#subscriptions.get(channel);
    if (!subscription) return;
    if (pub?.offset && subscription.position) subscription.position.offset = pub.offset;
    if (pub) subscription.handlers.publication(pub);
    if (join) subscription.handlers.join(join.info);
    if (leave) subscription.handlers.leave(leave.info);
    if (unsubscribe?.code >= 2500) this.#subscribe(channel).catch(() => this.#socket.close());
  }

  #lost(final) {
    this.#socket = null;
    clearTimeout(this.#silence);
    for (const { reject } of this.#calls.values()) reject(new Error("the connection is lost"));
    this.#calls.clear();
    if (!final) {
      // Half of the time is random, so that a thousand pages do not return at once.
      const longest = Math.min(RETRY.last, 2 * RETRY.first * 2 ** this.#attempts++);
      this.#retry = setTimeout(() => this.connect(), longest * (0.5 + Math.random() / 2));
    }
    this.#changed(final ? "closed" : "waiting");
  }
}
