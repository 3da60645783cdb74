"use strict";

const FIRST_DELAY = 500; // milliseconds, doubled for every attempt that fails
const LONGEST_DELAY = 30_000;
const CONTEXT = 50; // messages from before, in a page that shows none yet
const PACE = 100; // between two messages that have waited: the server counts how many come at once
const ANSWER = 10_000; // for which a message waits for its answer: a line may be dead and not say so
const TYPING = 5000; // for which a sign of typing is good; another is sent after half of it
// Done, against the rules, not signed in: a second attempt would end like the first.
const FINAL = [1000, 1008, 4401];
// What the ends mean to people that come without a reason, or with one for programmers.
const MEANING = {
  1005: "the server did not answer",
  1006: "the connection was lost",
  1009: "that was too big",
  1012: "the server is restarting",
};

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const outbox = []; // what was typed and is not known to be kept, the oldest first
const kept = new Map(); // by the id that it got: what is kept, and has not come back to us yet
let unanswered = null; // the one of it that was sent, and is not answered yet
const here = new Set();
const typing = new Map(); // who is typing, and the timer that ends it
const whisperers = new Set(); // with whom we have whispered, in whichever room they are
let room = null;
let me = null; // our name, for as long as we are online
// What outlives a reload, and ends with the window: the last name that we had, whose the log is and
// what waits, that, and for each room the id of the last message that we have read.
const memory = JSON.parse(sessionStorage.getItem("chat")) ?? { owner: null };
memory.outbox ??= [];
// Without a prototype: a room may be called constructor.
memory.last = Object.assign(Object.create(null), memory.last);
let empty = true; // the log: what we have read before is no longer on the page
let leaving = false; // we want to sign out, and the server has not been told yet
let attempt = 0;
let retrying = 0;
let ticking = 0;
let pacing = 0;
let patience = 0;
let typedAt = 0; // when we last told the others that we are typing
let socket = null;
let asking = null; // the newest question who is signed in, or the newest sign-out
let why = null; // we went offline; later attempts may fail for other reasons

async function connect() {
  clearTimeout(retrying);
  clearInterval(ticking);
  if (socket) {
    // Deaf first: the end of the old one must not count as the end of the new one.
    socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }
  alone();
  show("connecting", "connecting");
  // Asked first: why a handshake was refused, a browser does not say.
  const method = leaving ? "DELETE" : "GET";
  const asked = (asking = fetch("/session", { method }).catch(() => null));
  const answer = await asked;
  if (asked !== asking) return; // somebody pressed a button meanwhile
  if (answer?.status === 401 || answer?.status === 204) {
    clear(); // what waits is still ours to say
    return signedOut("signed out");
  }
  const name = answer?.ok && (await answer.json().catch(() => null))?.name;
  if (asked !== asking) return;
  if (!name) return closed(1006, "");
  // What was typed under no name is ours; what was typed under another is nobody's any more.
  if (memory.owner !== null && memory.owner !== name) forget();
  memory.owner = name;
  remember();
  page.who.hidden = true;
  page.leave.hidden = false;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const address = `${scheme}//${location.host}/ws/${encodeURIComponent(room)}`;
  const last = memory.last[room];
  // Ids grow by one: after a reload, what we had just read comes once more, and all we have missed.
  const after = empty ? Math.max(0, last - CONTEXT) : last;
  socket = new WebSocket(last === undefined ? address : `${address}?last=${after}`);
  // Every socket gets all its handlers here, the hundredth like the first.
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = (event) => closed(event.code, event.reason);
}

function signedOut(reason) {
  leaving = false;
  page.who.hidden = false;
  page.leave.hidden = true;
  show("ended", reason);
  // Not out of the middle of a sentence: the rest of it would be typed into the name.
  if (page.text.value === "" || document.activeElement !== page.text) page.name.focus();
}

function alone() {
  me = null;
  settled(); // what was sent has arrived or not: sent again with its key, it is said once
  here.clear();
  [...typing.keys()].forEach(stopped);
  showPeople();
}

// What was said is gone from the page. What waits is not: it is for the room it was typed in.
function clear() {
  page.log.replaceChildren(...waiting().map(({ line }) => line));
  kept.clear();
  empty = true;
}

function remember() {
  memory.outbox = outbox.map(({ line, ...one }) => one);
  sessionStorage.setItem("chat", JSON.stringify(memory));
}

function waiting() {
  return outbox.filter((one) => one.room === room);
}

// Whoever comes after us shall not read what was said, nor say what waits.
function forget() {
  outbox.length = 0;
  whisperers.clear();
  clear();
  memory.owner = null;
  memory.last = Object.create(null);
  remember();
}

function closed(code, reason) {
  alone();
  if (code === 4401) {
    forget();
    return signedOut(reason);
  }
  if (FINAL.includes(code)) return show("ended", reason || "closed");
  // Full jitter: a thousand clients of a server that restarts do not all come back at once.
  const delay = Math.random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** attempt++);
  const due = Date.now() + delay;
  why ??= MEANING[code] ?? (reason || `code ${code}`);
  show("offline", `offline: ${why}`);
  const tick = () => {
    const seconds = Math.ceil((due - Date.now()) / 1000);
    // A computer that slept: its clock went on, its timers did not.
    if (seconds < 0) return connect();
    page.countdown.textContent = `retry in ${seconds} s`;
  };
  tick();
  ticking = setInterval(tick, 250);
  // Not by the tick: rounded to ticks, many delays would end in the same moment.
  retrying = setTimeout(connect, delay);
}

function receive(frame) {
  switch (frame.type) {
    case "welcome":
      me = frame.name;
      why = null;
      here.clear();
      for (const name of frame.here) here.add(name);
      show("online", `online as ${me}`);
      showPeople();
      flush();
      // What was sent may be what ends it each time: then it is well when there is an answer.
      if (unanswered === null) attempt = 0;
      break;
    case "joined":
      here.add(frame.name);
      showPeople();
      write("note", `${frame.name} joined`);
      break;
    case "left":
      here.delete(frame.name);
      showPeople();
      stopped(frame.name);
      write("note", `${frame.name} left`);
      break;
    case "message":
      stopped(frame.name);
      kept.get(frame.id)?.remove(); // what was sent comes back, in its place among what others say
      kept.delete(frame.id);
      write(frame.name === me ? "mine" : "theirs", frame.text, frame.name, new Date(frame.at));
      empty = false;
      memory.last[room] = frame.id;
      remember();
      break;
    case "typing":
      stopped(frame.name);
      // It ends by itself: who closes the window in the middle of a word sends no second sign.
      typing.set(frame.name, setTimeout(stopped, TYPING, frame.name));
      showTyping();
      break;
    case "whisper":
      whisperers.add(frame.name === me ? frame.to : frame.name);
      showPeople();
      write(
        frame.name === me ? "mine whisper" : "theirs whisper",
        frame.text,
        frame.name === me ? `to ${frame.to} alone` : `${frame.name} to you alone`,
        new Date(frame.at),
      );
      if (frame.name === me && unanswered?.to) goOn(PACE);
      break;
    case "ack":
      answered(frame);
      break;
    case "notice":
      write("notice", frame.text);
      break;
    case "error":
      write("note", `${frame.code}: ${frame.detail}`);
      if (unanswered !== null) refused(frame.code);
      break;
    // Any other type comes from a newer server, for a newer page.
  }
}

function flush() {
  clearTimeout(pacing);
  // Online is after the welcome: an open socket may still be refused, and would take all with it.
  // One that is closing drops what it is given, silently, and may take its time to say so.
  const next = waiting()[0];
  if (me === null || socket.readyState !== WebSocket.OPEN || unanswered || !next) return;
  const { to, text, key } = next;
  // A whisper is not kept: it is sent once, and comes back if there is somebody to hear it.
  if (to) drop(next).remove();
  socket.send(JSON.stringify(to ? { type: "whisper", to, text } : { type: "say", text, key }));
  // The next one is sent after the answer: so they arrive in the order in which they were typed.
  unanswered = next;
  patience = setTimeout(() => socket.close(), ANSWER);
}

function settled() {
  clearTimeout(patience);
  unanswered = null;
}

function goOn(pause) {
  attempt = 0;
  settled();
  pacing = setTimeout(flush, pause);
}

function answered({ key, id }) {
  const one = outbox.find((each) => each.key === key);
  if (!one) return; // it was sent twice, and this is the second answer
  const line = drop(one);
  if (memory.last[room] >= id) line.remove();
  else kept.set(id, line);
  goOn(PACE);
}

function refused(code) {
  // Sent again, what came too fast is taken. Any other would be refused again.
  if (!unanswered.to && code !== "too_fast") drop(unanswered).className = "refused";
  goOn(10 * PACE);
}

function drop(one) {
  outbox.splice(outbox.indexOf(one), 1);
  remember();
  return one.line;
}

// crypto.randomUUID() is there over https alone, and on the machine of the server.
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // version 4: all else is random (RFC 9562)
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function show(state, text) {
  page.state.dataset.state = page.log.dataset.state = state;
  page.state.textContent = text;
  page.countdown.textContent = "";
  // An attempt may hang for minutes where nothing answers: then too the button is there. And when
  // the server wants no second attempt: people may know better.
  const hangs = state === "connecting" && attempt > 0;
  const lost = state === "offline" || hangs || (state === "ended" && page.who.hidden);
  // What is hidden loses the focus to nowhere.
  if (!lost && document.activeElement === page.retry) page.text.focus();
  page.retry.hidden = !lost;
}

function showPeople() {
  const names = [...here].sort((a, b) => a.localeCompare(b));
  page.here.replaceChildren(...names.map((name) => element("li", name === me ? "me" : "", name)));
  // Whom you are whispering to stays chosen, here or not, even you: it must not become everyone.
  const chosen = page.to.value;
  const others = new Set([...names, ...whisperers]);
  others.delete(me);
  if (chosen) others.add(chosen);
  // Nobody can have this name: it is too long.
  page.to.replaceChildren(new Option("everyone in this room", ""));
  for (const name of others) page.to.add(new Option(name, name));
  page.to.value = chosen;
}

function stopped(name) {
  clearTimeout(typing.get(name));
  typing.delete(name);
  showTyping();
}

function showTyping() {
  const names = [...typing.keys()];
  const verb = names.length === 1 ? "is" : "are";
  page.typing.textContent = names.length === 0 ? "" : `${names.join(", ")} ${verb} typing`;
}

function enter(wanted) {
  room = wanted;
  page.room.value = room;
  document.title = `${room} · Chat`;
  // So that a reload, or whoever is sent the address, comes into this room.
  const query = new URLSearchParams(location.search);
  query.set("room", room);
  history.replaceState(null, "", `?${query}`);
  clear();
  connect();
}

// All that others say goes through here, as text: nobody can put markup into the page.
function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function write(kind, text, name, at) {
  const line = element("div", kind, "");
  if (name) line.append(element("b", "name", name), " ");
  line.append(element("span", "text", text));
  if (at) {
    const today = at.toDateString() === new Date().toDateString();
    const style = { timeStyle: "short", ...(today ? {} : { dateStyle: "short" }) };
    const time = element("time", "", at.toLocaleString([], style));
    time.dateTime = at.toISOString();
    line.append(" ", time);
  }
  const atEnd = page.log.scrollHeight - page.log.scrollTop - page.log.clientHeight < 50;
  // What waits stays at the end.
  page.log.insertBefore(line, kind === "waiting" ? null : page.log.querySelector(".waiting"));
  if (atEnd || kind === "mine" || kind === "waiting") page.log.scrollTop = page.log.scrollHeight;
  return line;
}

function wait(one) {
  outbox.push({ ...one, line: write("waiting", one.text, one.to && `to ${one.to} alone`) });
  remember();
}

page.say.onsubmit = (event) => {
  event.preventDefault();
  const text = page.text.value;
  page.text.value = "";
  const to = page.to.value;
  wait({ room, to, text, key: uuid() });
  typedAt = 0;
  flush();
};

page.text.oninput = () => {
  // Those alone who will see what is typed are told that it is coming.
  if (me === null || page.to.value || Date.now() - typedAt < TYPING / 2) return;
  typedAt = Date.now();
  socket.send(JSON.stringify({ type: "typing" }));
};

page.go.onsubmit = (event) => {
  event.preventDefault();
  enter(page.room.value.trim() || "lobby");
  page.text.focus();
};

page.who.onsubmit = async (event) => {
  event.preventDefault();
  event.submitter.disabled = true; // pressed twice, it would find the name taken: by us
  try {
    const answer = await fetch("/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name: page.name.value }),
    });
    const { detail } = await answer.json();
    if (!answer.ok) return signedOut(detail[0].msg ?? detail);
    page.text.focus();
    connect();
  } catch {
    signedOut("The server does not answer. Try again.");
  } finally {
    event.submitter.disabled = false;
  }
};

page.leave.onclick = () => {
  leaving = true; // and it stays true until the server has heard it
  forget();
  page.text.value = page.to.value = "";
  connect();
};

page.retry.onclick = connect;

const given = new URLSearchParams(location.search);
page.name.value = given.get("name") ?? "";
page.room.value = (given.get("room") ?? "").trim();
memory.outbox.forEach(wait);
// A room that cannot be would be refused, again and again, and no browser would say why.
enter(page.room.validity.valid ? page.room.value : "lobby");
