// Products to the programs on this screen (DS9, TOPCAT, Aladin) by the Web Profile of SAMP 1.3: calls of XML-RPC to a
// hub on this machine. The hub asks its user first. What is sent are addresses; the programs fetch the files themselves.
"use strict";
const HUB = "http://127.0.0.1:21012/";
const escapeXml = (text) => String(text).replace(/[<>&]/g, (sign) => `&#${sign.charCodeAt(0)};`);
function toXml(value) {
  if (Array.isArray(value)) return `<array><data>${value.map((each) => `<value>${toXml(each)}</value>`).join("")}</data></array>`;
  if (typeof value === "object") {
    return `<struct>${Object.entries(value).map(([name, each]) => `<member><name>${escapeXml(name)}</name><value>${toXml(each)}</value></member>`).join("")}</struct>`;
  }
  return `<string>${escapeXml(value)}</string>`;
}
function fromXml(value) {
  const typed = value.firstElementChild;
  if (!typed) return value.textContent;
  const below = (...path) => path.reduce((elements, name) => elements.flatMap((each) => [...each.children].filter((child) => child.tagName === name)), [typed]);
  if (typed.tagName === "array") return below("data", "value").map(fromXml);
  if (typed.tagName === "struct") {
    return Object.fromEntries(below("member").map((member) => [member.querySelector("name").textContent, fromXml([...member.children].find((child) => child.tagName === "value"))]));
  }
  return typed.textContent;
}
async function callHub(method, parameters, options = {}) {
  const body = `<?xml version="1.0"?><methodCall><methodName>samp.webhub.${method}</methodName><params>${parameters.map((each) => `<param><value>${toXml(each)}</value></param>`).join("")}</params></methodCall>`;
  const answer = await fetch(HUB, { method: "POST", body, headers: { "Content-Type": "text/xml" }, ...options });
  const xml = new DOMParser().parseFromString(await answer.text(), "text/xml");
  const fault = xml.querySelector("fault > value");
  if (fault) throw new Error(fromXml(fault).faultString ?? "the hub refused");
  const value = xml.querySelector("methodResponse > params > param > value");
  return value ? fromXml(value) : "";
}
let hubKey = "";
async function joinHub() {
  if (hubKey) {
    try { await callHub("getRegisteredClients", [hubKey]); return; } catch { hubKey = ""; }
  }
  hubKey = (await callHub("register", [{ "samp.name": "awportal" }]))["samp.private-key"];
  await callHub("declareMetadata", [hubKey, { "samp.name": "awportal", "samp.description.text": "Frames and tables of the portal" }]);
}
window.addEventListener("pagehide", () => { if (hubKey) callHub("unregister", [hubKey], { keepalive: true }).catch(() => {}); });
// Programs by their identifier in the hub: name, and the kinds of messages that they take.
async function programs(products) {
  const wanted = new Set(products.flatMap((product) => product.messages.map((message) => message["samp.mtype"])));
  const found = new Map();
  for (const mtype of wanted) {
    for (const id of Object.keys(await callHub("getSubscribedClients", [hubKey, mtype]))) {
      if (!found.has(id)) found.set(id, { name: (await callHub("getMetadata", [hubKey, id]))["samp.name"] || id, takes: new Set() });
      found.get(id).takes.add(mtype);
    }
  }
  return found;
}
function panelOf(button) {
  const beside = button.closest(".top, .sticky, .between") ?? button;
  let panel = beside.nextElementSibling;
  if (!panel?.classList.contains("samp")) {
    panel = document.createElement("div");
    panel.className = "why is-info samp";
    panel.setAttribute("role", "status");
    beside.after(panel);
  }
  return panel;
}
function tellIn(panel, text, isBad = false) {
  panel.classList.toggle("is-bad", isBad);
  panel.classList.toggle("is-info", !isBad);
  panel.replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
}
async function sendTo(panel, id, program, products) {
  let [sent, wrong] = [0, ""];
  for (const product of products) {
    const message = product.messages.find((each) => program.takes.has(each["samp.mtype"]));
    if (!message) continue;
    tellIn(panel, `${program.name} loads ${product.name}…`);
    const answer = await callHub("callAndWait", [hubKey, id, message, "120"]);
    if (answer["samp.status"] === "samp.ok") sent += 1;
    else wrong = `${product.name}: ${answer["samp.error"]?.["samp.errortxt"] ?? "it was not loaded"}`;
  }
  const left = products.length - sent;
  tellIn(panel, `${program.name} has loaded ${sent === 1 ? "1 product" : `${sent} products`}.${left ? ` ${left} not${wrong ? `: ${wrong}` : ", for it takes none of that kind"}.` : ""}`, Boolean(wrong));
}
function offer(panel, found, products) {
  tellIn(panel, "Send to:");
  const row = Object.assign(document.createElement("div"), { className: "row" });
  for (const [id, program] of found) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "btn small", textContent: program.name });
    button.addEventListener("click", () => sendTo(panel, id, program, products).catch((error) => tellIn(panel, `${program.name}: ${error.message}`, true)));
    row.append(button);
  }
  panel.append(row);
  row.firstElementChild.focus();
}
async function send(button) {
  const panel = panelOf(button);
  const numbers = button.dataset.samp ? [button.dataset.samp] : [...button.form.querySelectorAll("[name=product]:checked")].map((box) => box.value);
  if (!numbers.length) { tellIn(panel, "Tick the products to send first.", true); return; }
  tellIn(panel, "Asking the hub on this computer. It may ask you in a window of its own whether this page may join: say yes there.");
  const answer = await fetch(`${button.dataset.sampAddress}?${new URLSearchParams(numbers.map((number) => ["product", number]))}`);
  const told = await answer.json();
  if (!answer.ok) { tellIn(panel, `${told.error}.`, true); return; }
  try {
    await joinHub();
  } catch (error) {
    tellIn(panel, error instanceof TypeError
      ? "No hub answers on this computer. Start TOPCAT or Aladin, which bring one, or DS9 (File, SAMP, Connect), then press the button again. Your browser may ask whether this page may reach programs on this computer."
      : `The hub did not let this page join: ${error.message}. Press the button again and say yes in its window.`, true);
    return;
  }
  const found = await programs(told.products);
  if (found.size) offer(panel, found, told.products);
  else tellIn(panel, "The hub is there, and no program with it that takes these. Start DS9 (for images), TOPCAT (for tables) or Aladin, and press the button again.", true);
}
document.documentElement.classList.add("scripts");
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-samp-address]");
  if (button) send(button).catch((error) => tellIn(panelOf(button), `It was not sent: ${error.message}. Press the button again.`, true));
});
