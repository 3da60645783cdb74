// Inside a window: shows the step's page, whose WebSocket and fetch() reach the server in the worker.
import { sockets } from "./socket.js";

const native = window.fetch.bind(window);
const calls = new Map();
let port = null;
let serial = 0;
const post = (message) => {
  port?.postMessage(message);
  return port !== null;
};
const { WebSocket, receive, ...line } = sockets(post);

async function ask(method, url, headers = [], body = null) {
  const { pathname, search } = new URL(url, location.href);
  const id = ++serial;
  const answer = await new Promise((settle) => {
    calls.set(id, settle);
    const asked = post({ type: "fetch", id, method, path: pathname + search, headers, body });
    if (!asked) settle({ error: "no server runs" });
  });
  if (answer.error) throw new TypeError(`Failed to fetch: ${answer.error}`);
  return answer;
}

async function fetch(input, init) {
  const request = new Request(input, init);
  const { origin } = new URL(request.url);
  if (origin !== location.origin) return native(request); // data: and blob:, for example
  const body = ["GET", "HEAD"].includes(request.method) ? null : await request.arrayBuffer();
  const headers = [...request.headers].filter(([name]) => name !== "content-length");
  const {
    status,
    headers: answered,
    body: content,
  } = await ask(request.method, request.url, headers, body);
  return new Response([204, 205, 304].includes(status) ? null : content, {
    status,
    headers: answered,
  });
}

// The files that a page names would be looked for on the site: they are brought from the server,
// and the page is given addresses at which they are found.
async function show(path, report) {
  history.replaceState(null, "", path); // what the page finds in `location`
  const { body } = await ask("GET", path, [["accept", "text/html"]]);
  const page = new DOMParser().parseFromString(new TextDecoder().decode(body), "text/html");
  for (const element of page.querySelectorAll("script[src], link[href], img[src]")) {
    const name = element.hasAttribute("src") ? "src" : "href";
    const url = new URL(element.getAttribute(name), new URL(path, location.href));
    if (url.origin !== location.origin) continue;
    const file = await ask("GET", url);
    if (file.status !== 200) {
      report(`${url.pathname}: ${file.status}`);
      element.removeAttribute(name);
      continue;
    }
    const type = file.headers.find(([header]) => header === "content-type")?.[1];
    element.setAttribute(name, URL.createObjectURL(new Blob([file.body], { type })));
  }
  document.open();
  // From here on: opening a document takes away what listened before.
  window.addEventListener("error", ({ message }) => report(message));
  window.addEventListener("pagehide", line.leave);
  document.write(`<!doctype html>${page.documentElement.outerHTML}`);
  document.close();
}

// For the page around the window: a port to the server, what to show, where to report errors.
// Returns what can be done to the window's connections.
window.start = (given, path, report) => {
  delete window.start;
  Object.assign(window, { WebSocket, fetch });
  const plug = (next) => {
    port = next;
    if (!port) return; // opened while no server runs
    port.onmessage = ({ data }) => {
      if (data.type !== "fetched") return receive(data);
      calls.get(data.id)?.(data);
      calls.delete(data.id);
    };
  };
  const unplug = () => {
    port = null;
    line.lose();
    for (const [, settle] of calls) settle({ error: "the server is gone" });
    calls.clear();
  };
  plug(given);
  show(path, report).catch((error) => {
    document.body.textContent = error.message;
  });
  return { ...line, plug, unplug };
};
