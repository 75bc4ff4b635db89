// The page of conf/app.toml: a sparkline for each figure of the page. A server keeps the numbers, so a new or returning page
// gets all of them when it connects.

const POINTS = { now: 120, hour: 360 }; // as `history` in conf/app.toml
const RETRY = { first: 500, last: 15_000 }; // ms
const WIDTH = 300; // of the viewBox in index.html
const HEIGHT = 80;

const status = document.getElementById("status");
const figures = [...document.querySelectorAll("figure")].map((element) => ({ element, numbers: [] }));
let wait = RETRY.first;
let frame = 0;

function connect() {
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/live`);
  for (const figure of figures) figure.numbers = [];
  socket.onopen = () => show("open", "live");
  socket.onmessage = (event) => {
    wait = RETRY.first;
    const { channel, message } = JSON.parse(event.data);
    if (message) receive(channel, message);
  };
  socket.onclose = () => {
    show("waiting", "no connection; trying again …");
    setTimeout(connect, wait * (0.5 + Math.random() / 2));
    wait = Math.min(wait * 2, RETRY.last);
  };
}

function receive(channel, message) {
  for (const { element, numbers } of figures) {
    const number = message[element.dataset.number];
    if (element.dataset.channel !== channel || !Number.isFinite(number)) continue;
    numbers.push(number);
    if (numbers.length > POINTS[channel]) numbers.shift();
  }
  // Once per frame, because hundreds of numbers arrive at first.
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    figures.forEach(draw);
  });
}

function draw({ element, numbers }) {
  if (!numbers.length) return;
  const { channel, unit = "" } = element.dataset;
  const most = Math.max(...numbers);
  const least = Math.min(0, ...numbers);
  const scale = (HEIGHT - 4) / (most - least || 1);
  const step = WIDTH / (POINTS[channel] - 1);
  const begin = WIDTH - step * (numbers.length - 1);
  const points = numbers.map((number, i) => `${begin + i * step},${HEIGHT - 2 - (number - least) * scale}`);
  element.querySelector("polyline").setAttribute("points", points.join(" "));
  const text = (number) => `${number.toLocaleString(undefined, { maximumFractionDigits: 2 })} ${unit}`.trim();
  element.querySelector("output").textContent = text(numbers.at(-1));
  element.querySelector("svg").setAttribute("aria-label", `${numbers.length} values, the highest ${text(most)}`);
}

function show(state, words) {
  status.dataset.state = state;
  status.textContent = words;
}

connect();
