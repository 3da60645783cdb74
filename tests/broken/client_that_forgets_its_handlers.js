"use strict";

// The reconnect that most tutorials print, on the page of step 5.
const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const address = `${location.origin.replace("http", "ws")}/ws${location.search}`;

let socket = new WebSocket(address);

socket.onopen = () => {
  page.state.textContent = "online";
};

socket.onmessage = (event) => {
  const frame = JSON.parse(event.data);
  if (frame.type !== "message") return;
  const line = document.createElement("div");
  line.textContent = `${frame.name}: ${frame.text}`;
  page.log.append(line);
};

socket.onclose = () => {
  page.state.textContent = "offline";
  setTimeout(() => {
    // A new socket, and the handlers stay with the old one: this one is deaf.
    socket = new WebSocket(address);
    socket.onopen = () => {
      page.state.textContent = "online";
    };
  }, 1000);
};

page.say.onsubmit = (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({ type: "say", text: page.text.value }));
  page.text.value = "";
};
