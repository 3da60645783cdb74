// Inside a window: shows the step's page, whose WebSocket and fetch() reach the server in the worker.
import { sockets } from "./socket.js";
import { storage } from "./storage.js";

const native = window.fetch.bind(window);
const calls = new Map();
const SERVER = "http://127.0.0.1:8000"; // what the server takes for its own address
let port = null;
let cookies = null; // this window's, which outlive its page
let serial = 0;
const post = (message) => {
  port?.postMessage(message);
  return port !== null;
};

// What every browser says of itself. A page cannot say otherwise.
const ownHeaders = (accept) => [
  ["accept", accept],
  ["user-agent", navigator.userAgent],
];

// `jar` is where cookies come from and go to: null for a request without them.
async function ask(method, url, { headers, body = null, signal = null, jar = cookies }) {
  const { pathname, search } = new URL(url, location.href);
  const cookie = jar?.header(pathname);
  if (cookie) headers = [...headers, ["cookie", cookie]];
  const id = ++serial;
  const answer = await new Promise((settle, reject) => {
    calls.set(id, settle);
    signal?.addEventListener("abort", () => {
      post({ type: "abort", id });
      reject(signal.reason);
    });
    const asked = post({ type: "fetch", id, method, path: pathname + search, headers, body });
    if (!asked) settle({ error: "no server runs" });
  });
  if (answer.error) throw new TypeError(`Failed to fetch: ${answer.error}`);
  for (const [name, value] of answer.headers) if (name === "set-cookie") jar?.take(value, pathname);
  return answer;
}

async function fetch(input, init) {
  const request = new Request(input, init);
  request.signal.throwIfAborted();
  const { origin, protocol } = new URL(request.url);
  if (origin !== location.origin || protocol === "blob:") return native(request);
  let { method, url } = request;
  let body = ["GET", "HEAD"].includes(method) ? null : await request.arrayBuffer();
  let given = [...request.headers].filter(([name]) => name !== "accept");
  const accept = request.headers.get("accept") ?? "*/*";
  const own = ownHeaders(accept);
  const jar = request.credentials === "omit" ? null : cookies;
  for (let hops = 0; ; hops++) {
    const origin = ["GET", "HEAD"].includes(method) ? [] : [["origin", SERVER]];
    const headers = [...own, ...origin, ...given];
    const answer = await ask(method, url, { headers, body, signal: request.signal, jar });
    const location = answer.headers.find(([name]) => name === "location")?.[1];
    if (
      ![301, 302, 303, 307, 308].includes(answer.status) ||
      !location ||
      request.redirect === "manual"
    )
      return response(answer, url, hops > 0);
    const next = new URL(location.replace(SERVER, window.location.origin), url);
    if (request.redirect === "error" || hops === 20 || next.origin !== window.location.origin)
      throw new TypeError(`Failed to fetch: redirected to ${next}`);
    url = next.href;
    if (answer.status === 303 || (answer.status < 303 && method === "POST")) {
      [method, body] = ["GET", null];
      given = given.filter(([name]) => !name.startsWith("content-")); // they told of the body
    }
  }
}

function response({ status, statusText, headers, body }, url, redirected) {
  const content = [204, 205, 304].includes(status) ? null : body;
  const made = new Response(content, { status, statusText, headers }); // which drops Set-Cookie
  url = url.split("#")[0];
  for (const [name, value] of Object.entries({ url, redirected, type: "basic" }))
    Object.defineProperty(made, name, { value });
  return made;
}

// The files that a page names would be looked for on the site: they are brought from the server,
// and the page is given addresses at which they are found.
async function show(path, report, leave) {
  history.replaceState(null, "", path); // what the page finds in `location`
  const { body } = await ask("GET", path, { headers: ownHeaders("text/html") });
  const page = new DOMParser().parseFromString(new TextDecoder().decode(body), "text/html");
  for (const element of page.querySelectorAll("script[src], link[href], img[src]")) {
    const name = element.hasAttribute("src") ? "src" : "href";
    const url = new URL(element.getAttribute(name), new URL(path, location.href));
    if (url.origin !== location.origin) continue;
    const file = await ask("GET", url, { headers: ownHeaders("*/*") });
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
  window.addEventListener("pagehide", leave);
  document.write(`<!doctype html>${page.documentElement.outerHTML}`);
  document.close();
}

// For the page around the window: a port to the server, what to show, what the window keeps when
// its page goes, where to report errors. Returns what can be done to the window's connections.
window.start = (given, path, keeps, report) => {
  delete window.start;
  cookies = keeps.cookies;
  const { WebSocket, receive, ...line } = sockets(post, cookies);
  Object.assign(window, { WebSocket, fetch });
  // The browser's own are those of this site, and all windows share them.
  delete window.cookieStore;
  Object.defineProperty(document, "cookie", {
    get: () => cookies.header(location.pathname, true),
    set: (text) => cookies.take(`${text}`, location.pathname, true),
  });
  for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, name, { value: storage(keeps[name]) });
  const plug = (next) => {
    port = next;
    if (!port) return; // opened while no server runs
    port.onmessage = ({ data }) => {
      if (data.type === "cookies")
        return data.lines.forEach((text) => cookies.take(text, data.path));
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
  show(path, report, line.leave).catch((error) => {
    document.body.textContent = error.message;
  });
  return { ...line, plug, unplug };
};
