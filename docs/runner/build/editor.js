// The editor of the runner: a textarea, with the same text in colours over it.
import { createEditor as create } from "prism-code-editor";
import {
  defaultKeymap,
  editHistory,
  editorCommands,
  setIgnoreTab,
} from "prism-code-editor/commands";
import { cursorPosition } from "prism-code-editor/cursor";
import { highlightBracketPairs } from "prism-code-editor/highlight-brackets";
import { matchBrackets } from "prism-code-editor/match-brackets";
import "prism-code-editor/languages/clike";
import "prism-code-editor/languages/css";
import "prism-code-editor/languages/html";
import "prism-code-editor/languages/python";
import "prism-code-editor/prism/languages/css";
import "prism-code-editor/prism/languages/javascript";
import "prism-code-editor/prism/languages/markup";
import "prism-code-editor/prism/languages/python";
import "prism-code-editor/layout.css";
import "./editor.css";

const LANGUAGES = { py: "python", js: "javascript", html: "markup", css: "css" };

export function createEditor(host, { onChange, onRun }) {
  // In the host, and not in the head: there instant navigation takes away what it does not know.
  const sheet = document.createElement("link");
  Object.assign(sheet, { rel: "stylesheet", href: new URL("editor.css", import.meta.url) });
  host.append(sheet);
  const { "Mod+Enter": _, "2+m": __, "10+m": ___, ...keymap } = defaultKeymap;
  const run = () => {
    onRun();
    return true;
  };
  const history = editHistory();
  const editor = create(
    host,
    { language: "text", tabSize: 4 },
    editorCommands({ ...keymap, "2+Enter": run, "4+Enter": run }),
    matchBrackets(false),
    highlightBracketPairs(),
    cursorPosition(),
    history,
  );
  const { container, lines, textarea } = editor;
  let marked = null,
    showing = false;
  const unmark = () => {
    marked?.classList.remove("marked");
    marked = null;
  };
  editor.on("update", (text) => {
    unmark();
    if (!showing) onChange(text);
  });

  // Tab indents, and after Esc it leaves. Every other key, and leaving, ends that.
  textarea.setAttribute("aria-description", "Tab indents. To leave, press Escape and then Tab.");
  delete editor.keyCommandMap.Escape;
  textarea.addEventListener("blur", () => setIgnoreTab(false));
  textarea.addEventListener("keydown", ({ key }) => {
    if (!["Tab", "Shift"].includes(key)) setIgnoreTab(key === "Escape");
  });

  return {
    show(name, value) {
      showing = true;
      editor.setOptions({ value, language: LANGUAGES[name.split(".").at(-1)] ?? "text" });
      showing = false;
      unmark();
      history.clear();
      textarea.setAttribute("aria-label", `Code of ${name}`);
      container.scrollTo(0, 0);
    },
    reveal(line) {
      unmark();
      marked = lines[Math.min(line, lines.length - 1)]; // the first is no line: it holds the textarea
      marked.classList.add("marked");
      const start =
        editor.value
          .split("\n")
          .slice(0, line - 1)
          .join("\n").length +
        (line > 1);
      textarea.setSelectionRange(start, start);
      textarea.dispatchEvent(new Event("selectionchange"));
      container.scrollTo(0, marked.offsetTop - container.clientHeight / 2);
      container.scrollIntoView({ block: "nearest" });
    },
    focus: () => textarea.focus({ preventScroll: true }),
  };
}
