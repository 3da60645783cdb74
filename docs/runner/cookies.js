// The cookies of one window, as a browser keeps those of one person.
// The rules are those of RFC 6265 and its successor, 6265bis; where browsers differ, Chromium's.

const HOST = "127.0.0.1"; // as the server's own address: there browsers take `Secure` over HTTP, too
const LIMIT = 4096; // bytes of a name and its value
const CONTROLS = /[\0-\x08\n-\x1f\x7f]/;
// The form that servers and toUTCString() write, and its older one with dashes. Always GMT.
const DATE = /\d\d?[ -][a-z]{3}[ -]\d{4} \d\d?:\d\d:\d\d/i;

// In a header each letter is a byte. Scripts have text, and its bytes are those of UTF-8.
const toBytes = (text) =>
  Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
const fromBytes = (bytes) =>
  new TextDecoder().decode(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)));
const trimmed = (text) => text.replace(/^[ \t]+|[ \t]+$/g, "");
const halves = (text) => {
  const [first, ...rest] = text.split("=");
  return [trimmed(first), trimmed(rest.join("="))];
};
const matches = (path, prefix) =>
  path === prefix || path.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);

function expiry({ "max-age": seconds, expires }) {
  if (/^-?\d+$/.test(seconds)) return Date.now() + seconds * 1000;
  const [date] = DATE.exec(expires) ?? [];
  return date ? Date.parse(`${date.replaceAll("-", " ")} GMT`) : Infinity;
}

export class Cookies {
  #kept = new Map(); // by name and path

  // What is sent with a request for a path; or of that, what a script on a page there may see.
  header(path, forScript = false) {
    const found = [...this.#valid().values()].filter(
      (cookie) => matches(path, cookie.path) && !(forScript && cookie.httpOnly),
    );
    // Those of longer paths first. The sort is stable: of the others, the oldest is first.
    found.sort((a, b) => b.path.length - a.path.length);
    const header = found.map(({ pair }) => pair).join("; ");
    return forScript ? fromBytes(header) : header;
  }

  // Takes what Set-Cookie says in an answer from a path, or what a script there assigns.
  take(text, from, byScript = false) {
    const line = byScript ? toBytes(text) : text;
    const [first, ...rest] = line.split(";");
    const [name, value] = first.includes("=") ? halves(first) : ["", trimmed(first)];
    const pair = name ? `${name}=${value}` : value;
    const attributes = Object.fromEntries(
      rest.map(halves).map(([key, given]) => [key.toLowerCase(), given]),
    );
    const { domain = "", path: given = "", samesite = "" } = attributes;
    const httpOnly = "httponly" in attributes;
    const path = given.startsWith("/") ? given : from.slice(0, from.lastIndexOf("/")) || "/";
    const key = `${name};${path}`;
    const before = this.#valid().get(key);
    if (
      !pair ||
      (!name && pair.includes("=")) ||
      CONTROLS.test(line) ||
      name.length + value.length > LIMIT ||
      !["", HOST, `.${HOST}`].includes(domain) ||
      (byScript && (httpOnly || before?.httpOnly)) ||
      (!("secure" in attributes) &&
        (/^__(secure|host)-/i.test(name) || /^none$/i.test(samesite))) ||
      (/^__host-/i.test(name) && given !== "/")
    )
      return;
    // A new value is a new cookie, and comes after the others.
    if (before?.pair !== pair) this.#kept.delete(key);
    this.#kept.set(key, { pair, path, httpOnly, expires: expiry(attributes) });
  }

  #valid() {
    for (const [key, { expires }] of this.#kept) if (expires <= Date.now()) this.#kept.delete(key);
    return this.#kept;
  }
}
