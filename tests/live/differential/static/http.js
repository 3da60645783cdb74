"use strict";

// `fetch`, and what answers it. The other ways to ask a server are at the end.

const json = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const form = () => {
  const data = new FormData();
  data.append("name", "value");
  return data;
};

Object.assign(scenarios, {
  async a_body_that_is_valid_and_three_that_are_not(s) {
    await s.ask("/thing", json({ name: "żółw" }), "content-type", "content-length");
    await s.ask("/thing", json({ name: "too long" }), "content-type");
    await s.ask("/thing", { method: "POST", headers: { "content-type": "application/json" }, body: "{" });
    await s.ask("/thing", { method: "POST" });
  },

  async statuses(s) {
    for (const code of [200, 201, 204, 205, 304, 401, 404, 409, 418, 429, 500, 503]) {
      const { statusText } = await s.ask(`/status/${code}`, {}, "x-own", "content-length", "content-type");
      s.note(" ", statusText);
    }
  },

  async what_is_not_there(s) {
    await s.ask("/nowhere", {}, "content-type");
    await s.ask("/status/x");
    await s.ask("/thing", {}, "allow");
    await s.ask("/plain-function", { method: "POST" }, "allow");
    await s.ask("/plain-function/", {}, "content-type");
    await s.ask("/echo?note=x");
  },

  async an_endpoint_that_crashes(s) {
    await s.ask("/crash", {}, "content-type", "content-length");
  },

  async methods(s) {
    for (const method of ["get", "Post", "put", "PATCH", "DELETE", "options"]) await s.ask("/mirror", { method });
    await s.ask("/plain-function", { method: "HEAD" }, "content-length", "content-type");
    await s.ask("/notes.txt", { method: "HEAD" }, "content-length", "content-type");
    await s.ask("/mirror", { method: "CONNECT" });
    await s.ask("/mirror", { method: "no method" });
  },

  async bodies(s) {
    const all = [
      "text", "", "ż", bytes(0, 255), bytes(1, 2, 3).subarray(1), new Blob(["blob"]), new Blob(["{}"], { type: "application/json" }),
      new URLSearchParams({ a: "1 2", ż: "ę" }), form(), null, 5, {},
    ];
    for (const body of all) await s.ask("/mirror", { method: "POST", body });
    await s.ask("/mirror", { method: "GET", body: "x" });
    await s.ask("/mirror", { method: "POST", body: "x".repeat(500000) });
    await s.ask("/mirror", { method: "PUT", body: "own type", headers: { "Content-Type": "application/x-own" } });
  },

  async queries(s) {
    for (const query of ["?", "?a", "?a=", "?a=1&a=2", "?a=b+c%20d", "?ż=%C5%BC", "?a=1#part", "?a=%00", "?a=<>\"'`"]) await s.ask(`/mirror${query}`);
  },

  async addresses_of_requests(s) {
    const origin = location.origin;
    for (const address of [`${origin}/mirror`, "mirror", "./x/../mirror", new URL("/mirror", origin), new Request("/mirror", { method: "DELETE" })]) {
      try {
        const answer = await fetch(address);
        s.note(String(address).replace(origin, ""), answer.status, answer.url.replace(origin, ""), shorten(await answer.text()));
      } catch (error) {
        s.note(String(address).replace(origin, ""), told(error));
      }
    }
    await s.attemptLater("bad address", () => fetch("http://["));
    await s.attemptLater("unknown scheme", () => fetch("nothing:x"));
    await s.attemptLater("data", async () => (await fetch("data:text/plain,hello")).text());
    await s.attemptLater("blob", async () => (await fetch(URL.createObjectURL(new Blob(["hello"])))).text());
  },

  async headers_of_requests(s) {
    await s.ask("/mirror", { headers: { "X-Own": "caf\xe9" } });
    await s.ask("/mirror", { headers: [["x-own", "one"], ["X-OWN", "two"]] });
    await s.ask("/mirror", { headers: { "x-own": " spaces " } });
    await s.ask("/mirror", { headers: { "x-own": "żółw" } });
    await s.ask("/mirror", { headers: { Host: "evil", Cookie: "a=b", Origin: "evil" } });
    document.cookie = "one=1";
    await s.ask("/mirror");
    await s.ask("/mirror", { credentials: "omit" });
    document.cookie = "one=; max-age=0";
  },

  async headers_of_answers(s) {
    const answer = await s.ask("/headers", {}, "x-own", "x-twice", "set-cookie");
    s.note([...answer.headers.keys()].sort().join(" "));
  },

  async the_answer_itself(s) {
    const answer = await fetch("/plain-function?x=1#part");
    s.note(fields(answer, "ok", "redirected", "status", "statusText", "type", "bodyUsed"), answer.url.replace(location.origin, ""));
    s.note(answer.body.constructor.name, answer.constructor === Response, answer.headers.constructor === Headers);
    s.note(JSON.stringify(await answer.clone().json()), answer.bodyUsed);
    s.note(JSON.stringify(await answer.json()), answer.bodyUsed);
    await s.attemptLater("twice", () => answer.text());
    s.attempt("changing its headers", () => answer.headers.set("x", "y"));
  },

  async redirects(s) {
    for (const status of [301, 302, 303, 307, 308]) {
      for (const method of ["GET", "POST"]) {
        const answer = await s.ask(`/redirect?status=${status}&to=/mirror?x=1`, { method, body: method === "POST" ? "body" : undefined });
        s.note(" ", answer.redirected, answer.url.replace(location.origin, ""));
      }
    }
    const manual = await s.ask("/redirect?status=302&to=/mirror", { redirect: "manual" });
    s.note(" ", manual.redirected, manual.url.replace(location.origin, ""));
    await s.ask("/redirect?status=302&to=/mirror", { redirect: "error" });
    await s.ask("/redirect?status=302&to=/redirect%3Fstatus=302%26to=/mirror");
    await s.ask("/redirect?status=302&to=/nowhere");
    await s.ask("/redirect?status=302&to=http://127.0.0.1:1/mirror"); // no browser turns to port 1
  },

  async an_answer_that_comes_in_parts(s) {
    const answer = await fetch("/stream?name=go+on");
    const reader = answer.body.getReader();
    s.note(new TextDecoder().decode((await reader.read()).value));
    await fetch("/signal?name=go+on", { method: "POST" });
    s.note(new TextDecoder().decode((await reader.read()).value));
    s.note((await reader.read()).done);
  },

  async an_answer_that_breaks_off(s) {
    await s.attemptLater("the answer", async () => {
      const answer = await fetch("/broken-stream");
      s.note(answer.status);
      return answer.text();
    });
  },

  async a_request_that_is_given_up(s) {
    const controller = new AbortController();
    const answer = fetch("/endless?name=given+up", { signal: controller.signal });
    await fetch("/signal?name=given+up+begun");
    controller.abort();
    await s.attemptLater("the answer", () => answer);
    await s.ask("/signal?name=given+up+gone");
    await s.attemptLater("given up before", () => fetch("/plain-function", { signal: AbortSignal.abort() }));
  },

  async many_requests_at_once(s) {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => fetch(`/mirror?i=${i}`)));
    for (const answer of answers) s.note(answer.status, (await answer.json()).query);
  },

  async a_large_answer(s) {
    const answer = await fetch("/large?size=3000000");
    const got = new Uint8Array(await answer.arrayBuffer());
    s.note(got.length, got.every((byte, i) => byte === i % 256), answer.headers.get("content-length"));
  },

  async files(s) {
    for (const path of ["/", "/index.html", "/style.css", "/run.js", "/notes.txt", "/folder", "/folder/", "/missing.txt", "/..%2fmain.py", "/files/", "/files/notes.txt", "/files/folder", "/file"]) {
      const answer = await fetch(path);
      s.note(path, answer.status, answer.redirected, answer.url.replace(location.origin, ""));
      for (const name of ["content-type", "content-disposition", "content-length"]) s.note(" ", name, answer.headers.get(name));
      s.note(" ", answer.headers.has("etag"), answer.headers.has("last-modified"), shorten(await answer.text()).slice(0, 40));
    }
  },

  async files_that_have_not_changed(s) {
    const tag = (await fetch("/notes.txt")).headers.get("etag");
    await s.ask("/notes.txt", { headers: { "if-none-match": tag }, cache: "no-store" }, "content-type");
    await s.ask("/notes.txt", { headers: { "if-none-match": '"another"' }, cache: "no-store" });
    await s.ask("/notes.txt", { headers: { range: "bytes=0-4" }, cache: "no-store" }, "content-range");
    await s.ask("/notes.txt", { cache: "no-cache" });
    await s.ask("/notes.txt", { cache: "no-cache" });
  },

  async where_the_page_is(s) {
    s.note(location.pathname, location.search, location.protocol, document.baseURI.replace(location.origin, ""));
    s.note(document.currentScript, document.readyState, document.title, document.scripts.length);
    s.note(document.compatMode, document.characterSet, document.documentElement.lang);
  },

  async an_address_that_the_page_gives_itself(s) {
    const before = location.href;
    history.replaceState(null, "", "?name=Ada%20L");
    s.note(location.pathname, location.search, new URLSearchParams(location.search).get("name"));
    await s.ask("mirror");
    history.replaceState(null, "", "/folder/x");
    s.note(location.pathname, location.search, document.baseURI.replace(location.origin, ""));
    await s.ask("../mirror");
    history.replaceState(null, "", before);
  },

  // The other ways.
  async an_older_request(s) {
    const request = new XMLHttpRequest();
    request.open("GET", "/plain-function");
    request.send();
    await new Promise((resolve) => (request.onloadend = resolve));
    s.note(request.status, request.status === 200 ? request.responseText : "something else");
  },

  async server_sent_events(s) {
    const source = new EventSource("/events");
    await new Promise((resolve) => {
      source.onmessage = ({ data }) => s.note(data) ?? (data === "two" && resolve());
      source.onerror = () => s.note("error") ?? resolve();
    });
    source.close();
  },

  async a_file_that_a_script_puts_into_the_page(s) {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = "/files/style.css";
    const loaded = new Promise((resolve) => (style.onload = style.onerror = ({ type }) => resolve(type)));
    document.head.append(style);
    s.note(await loaded);
    style.remove();
  },

  async a_module_that_a_script_imports(s) {
    await s.attemptLater("the module", async () => (await import("./folder/word.js")).word);
  },

  async a_link_to_another_page(s) {
    const loaded = new Promise((resolve) => bystander.frameElement.addEventListener("load", resolve, { once: true }));
    bystander.document.body.insertAdjacentHTML("beforeend", '<a href="/folder/">');
    bystander.document.querySelector("a").click();
    await loaded;
    s.note(bystander.document.title === "folder" ? "the other page" : "something else");
    await reloadBystander();
  },
});
