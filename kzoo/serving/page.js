"use strict";
const element = (id) => document.getElementById(id);
const made = (tag, settings = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), settings);
  node.append(...children);
  return node;
};
let about = { models: [] };
let key = sessionStorage.getItem("kzoo-key") || "";
let language = "curl";
let lastFile = "image.png";
let camera = null;

const model = () => about.models.find((one) => one.name === element("model").value);
const version = () => model()?.versions.find((one) => one.version === element("version").value);
const address = () => `/v1/models/${encodeURIComponent(model().name)}/versions/${version().version}:predict`;

async function ask(path, settings = {}) {
  const headers = { ...(settings.headers || {}), ...(key ? { "X-API-Key": key } : {}) };
  const response = await fetch(path, { ...settings, headers });
  const answer = await response.json();
  if (response.status === 401) element("key-form").hidden = false;
  if (!response.ok) throw new Error(answer.error || `The server answered with status ${response.status}.`);
  return answer;
}

async function load() {
  try {
    about = await ask("/about.json");
  } catch (error) {
    return fail(error);
  }
  element("key-form").hidden = true;
  element("error").hidden = true;
  element("model").replaceChildren(...about.models.map((one) => made("option", { textContent: one.name })));
  element("model").disabled = element("version").disabled = false;
  chooseModel();
}

function chooseModel() {
  const versions = [...model().versions].reverse();
  element("version").replaceChildren(...versions.map((one) => made("option", { textContent: one.version })));
  chooseVersion();
}

function chooseVersion() {
  showCard();
  showExamples();
  showSnippet();
}

function facts() {
  const { card, shape, classes, runtime, format } = version();
  const metrics = card.metrics || {};
  const measured = (card.formats || {})[format] || {};
  const accuracy = metrics.test_accuracy;
  const rows = {
    Network: card.model,
    Classes: classes.length <= 12 ? classes.join(", ") : `${classes.slice(0, 10).join(", ")} and ${classes.length - 10} more`,
    Input: shape ? `${shape[1]} × ${shape[0]} pixels, ${{ 1: "grey", 3: "RGB", 4: "RGB and opacity" }[shape[2]]}` : null,
    "Trained on": metrics.data,
    "Test accuracy": typeof accuracy === "number" ? `${(100 * accuracy).toFixed(2)} %` : null,
    Parameters: typeof card.parameters === "number" ? card.parameters.toLocaleString("en") : null,
    Precision: card.precision,
    Size: measured.bytes ? `${(measured.bytes / 1e6).toFixed(2)} MB` : null,
    Runs: format === runtime ? `by ${runtime}` : `${format} by ${runtime}`,
    Written: card.created ? card.created.slice(0, 10) : null,
    Versions: model().versions.map((one) => one.version).join(", "),
  };
  return Object.entries(rows).filter(([, value]) => value !== null && value !== undefined);
}

function showCard() {
  const rows = facts().map(([name, value]) => [made("dt", { textContent: name }), made("dd", { textContent: value })]);
  element("card").replaceChildren(...rows.flat());
  element("json").textContent = JSON.stringify(version().card, null, 2);
  element("all").hidden = false;
}

function showExamples() {
  const examples = version().examples;
  element("examples").hidden = !examples.length;
  element("example-list").replaceChildren(...examples.map((one, index) => {
    const label = one.label === null || one.label === undefined ? "" : `, in truth ${version().classes[one.label]}`;
    const image = made("img", { src: `data:image/png;base64,${one.png}`, alt: `Example ${index + 1}${label}` });
    const button = made("button", { type: "button" }, image);
    button.addEventListener("click", () => {
      const bytes = Uint8Array.from(atob(one.png), (letter) => letter.charCodeAt(0));
      classify([new File([bytes], `example-${index + 1}.png`, { type: "image/png" })]);
    });
    return made("li", {}, button);
  }));
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(blob);
  });
}

// The server reads JPEG and PNG: what else the browser knows becomes PNG here.
async function readable(file) {
  if (!file.type.startsWith("image/") || ["image/jpeg", "image/png"].includes(file.type)) return file;
  const bitmap = await createImageBitmap(file).catch(() => { throw new Error(`${file.name} is no image that this browser reads.`); });
  const canvas = made("canvas", { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function temperatureOf({ card }) {
  const temperature = card.temperature ?? (card.metrics || {}).temperature;
  return typeof temperature === "number" && temperature > 0 ? temperature : null;
}

function calibrated(logits, temperature) {
  const scaled = logits.map((value) => value / temperature);
  const most = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((value) => value / sum);
}

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

// The bar and the large number are calibrated where the model can be; then a mark and a small number say what it was before.
function row(name, probability, before) {
  const numbers = made("span", { textContent: percent(probability) });
  const bar = made("div", { className: "bar" });
  const track = made("div", { className: "track" }, bar);
  track.setAttribute("aria-hidden", "true");
  requestAnimationFrame(() => requestAnimationFrame(() => { bar.style.width = `${(100 * probability).toFixed(2)}%`; }));
  if (before !== null) {
    numbers.append(" ", made("small", { className: "quiet", textContent: `${percent(before)} before` }));
    const mark = made("div", { className: "mark" });
    mark.style.left = `${(100 * before).toFixed(2)}%`;
    track.append(mark);
  }
  return made("li", {}, made("span", { className: "name" }, made("span", { textContent: name }), " ", numbers), track);
}

function legend(temperature) {
  const sample = (className) => made("span", { className });
  const words = [sample("bar"), ` calibrated (temperature ${temperature.toFixed(2)}) `, sample("mark"), " before calibration"];
  return made("p", { className: "legend quiet" }, ...words);
}

async function answerOf(file) {
  const body = JSON.stringify({ instances: [{ image_bytes: { b64: await base64(await readable(file)) } }] });
  const start = performance.now();
  const settings = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  const answer = await ask(address(), settings);
  const milliseconds = performance.now() - start;
  const { logits, probabilities: plain } = answer.predictions[0];
  const { classes } = version();
  const temperature = temperatureOf(version());
  const probabilities = temperature === null ? plain : calibrated(logits, temperature);
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 5);
  const image = made("img", { src: URL.createObjectURL(file), alt: file.name });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  const best = classes[order[0]];
  const list = made("ol", { className: "classes", ariaLabel: `Likeliest classes of ${file.name}` }, ...order.map((i) => row(classes[i], probabilities[i], temperature === null ? null : plain[i])));
  const title = made("h3", { textContent: best });
  const words = `${file.name}: answered in ${milliseconds.toFixed(0)} ms by version ${version().version}`;
  const told = made("div", {}, title, made("p", { className: "file quiet", textContent: words }), list);
  if (temperature !== null) told.append(legend(temperature));
  element("results").prepend(made("li", { className: "panel result" }, image, told));
  const before = temperature === null ? "" : ` calibrated, ${(100 * plain[order[0]]).toFixed(0)} before`;
  return `${file.name}: ${best}, ${(100 * probabilities[order[0]]).toFixed(0)} percent${before}.`;
}

async function classify(files) {
  element("error").hidden = true;
  const said = [];
  const wrong = [];
  for (const file of files) {
    try {
      if (!version()) throw new Error("There is no model to ask.");
      said.push(await answerOf(file));
      lastFile = file.name;
    } catch (error) {
      wrong.push(files.length > 1 ? `${file.name}: ${error.message}` : error.message);
    }
  }
  element("said").textContent = said.join(" ");
  element("clear").hidden = !element("results").children.length;
  if (wrong.length) fail(new Error(wrong.join(" ")));
  if (version()) showSnippet();
}

function fail(error) {
  element("error").textContent = error.message;
  element("error").hidden = false;
}

function showSnippet() {
  const url = `${location.origin}${address()}`;
  const file = lastFile.replace(/[^\w.-]/g, "_");
  const snippets = {
    curl: `printf '{"instances": [{"b64": "%s"}]}' "$(base64 < ${file} | tr -d '\\n')" |\n  curl -s ${url} \\\n    ${key ? '-H "X-API-Key: $KZOO_API_KEY" ' : ""}-d @-`,
    python: `import base64, json, ${key ? "os, " : ""}urllib.request\n\nfile = base64.b64encode(open("${file}", "rb").read()).decode()\nrequest = urllib.request.Request(\n    "${url}",\n    json.dumps({"instances": [{"b64": file}]}).encode(),\n    {"Content-Type": "application/json"${key ? ', "X-API-Key": os.environ["KZOO_API_KEY"]' : ""}},\n)\nanswer = json.load(urllib.request.urlopen(request))\nprint(answer["predictions"][0]["probabilities"])`,
    javascript: `import { readFileSync } from "node:fs";\n\nconst b64 = readFileSync("${file}").toString("base64");\nconst response = await fetch("${url}", {\n  method: "POST",\n  headers: { "Content-Type": "application/json"${key ? ', "X-API-Key": process.env.KZOO_API_KEY' : ""} },\n  body: JSON.stringify({ instances: [{ b64 }] }),\n});\nconsole.log((await response.json()).predictions[0].probabilities);`,
  };
  element("snippet").textContent = snippets[language];
}

const tabs = [...document.querySelectorAll("[role=tab]")];
function chooseTab(tab, focus) {
  for (const one of tabs) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
  }
  element("code").setAttribute("aria-labelledby", tab.id);
  language = tab.id.slice(4);
  if (focus) tab.focus();
  if (version()) showSnippet();
}
for (const [index, tab] of tabs.entries()) {
  tab.addEventListener("click", () => chooseTab(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) chooseTab(tabs[(index + step + tabs.length) % tabs.length], true);
  });
}

async function startCamera() {
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return fail(new Error(`The camera cannot be used: ${error.message}`));
  }
  element("video").srcObject = camera;
  await element("video").play();
  element("live").hidden = false;
  element("take").focus();
}

function stopCamera() {
  for (const track of camera?.getTracks() || []) track.stop();
  camera = null;
  element("video").srcObject = null;
  element("live").hidden = true;
  element("camera").focus();
}

function takePicture() {
  const video = element("video");
  const canvas = made("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => classify([new File([blob], "camera.png", { type: "image/png" })]), "image/png");
}

for (const id of ["file", "photo"]) {
  element(id).addEventListener("change", (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    if (files.length) classify(files);
  });
}
element("model").addEventListener("change", chooseModel);
element("version").addEventListener("change", chooseVersion);
element("camera").hidden = !navigator.mediaDevices?.getUserMedia;
element("camera").addEventListener("click", startCamera);
element("stop").addEventListener("click", stopCamera);
element("take").addEventListener("click", takePicture);
element("clear").addEventListener("click", () => {
  element("results").replaceChildren();
  element("clear").hidden = true;
  element("file").focus();
});
element("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(element("snippet").textContent);
    element("copied").textContent = "Copied.";
  } catch {
    element("copied").textContent = "The browser does not allow it: select and copy the text.";
  }
});
element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = element("key").value;
  sessionStorage.setItem("kzoo-key", key);
  load();
});
const drop = element("drop");
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
}
const images = (data) => [...(data?.files || [])];
document.addEventListener("drop", (event) => { if (images(event.dataTransfer).length) classify(images(event.dataTransfer)); });
document.addEventListener("paste", (event) => { if (images(event.clipboardData).length) classify(images(event.clipboardData)); });
load();
