"use strict";

const state = document.querySelector("#state");
const log = document.querySelector("#log");
const form = document.querySelector("#form");
const input = document.querySelector("#text");

// A page that came over https may only open wss.
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(`${scheme}//${location.host}/ws`);

socket.onopen = () => {
  state.textContent = "online";
};

socket.onmessage = (event) => {
  const frame = JSON.parse(event.data);
  if (frame.type === "error") show("note", `${frame.code}: ${frame.detail}`);
  else show("received", frame.text);
};

// Tells nothing about the cause, on purpose: a page must not scan networks. A close event follows.
socket.onerror = () => {
  show("note", "error");
};

socket.onclose = (event) => {
  state.textContent = `offline (${event.code})`;
};

form.onsubmit = (event) => {
  event.preventDefault();
  // send() throws before the socket is open and drops the text, silently, after it has closed.
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "say", text: input.value }));
  show("sent", input.value);
  input.value = "";
};

function show(kind, text) {
  const line = document.createElement("div");
  line.className = kind;
  // textContent, never innerHTML: what somebody typed is text and stays text.
  line.textContent = text;
  log.append(line);
  line.scrollIntoView({ block: "nearest" });
}
