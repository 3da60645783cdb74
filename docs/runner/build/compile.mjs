// Run by build.py in a folder with node_modules, wheels and made: compiles what is Python
// and bundles the editor.
import { readFile } from "node:fs/promises";
import { build } from "esbuild";
import { loadPyodide } from "pyodide";

const license = await readFile("node_modules/prism-code-editor/LICENSE", "utf8");
await build({
  entryPoints: ["editor.js"],
  outdir: "made",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  banner: { js: `/*! prism-code-editor\n\n${license}*/` },
  logLevel: "warning",
});

const python = await loadPyodide({ env: { PYTHONHASHSEED: "0" } });
python.mountNodeFS("/work", process.cwd());
python.runPython(await readFile("compile.py", "utf8"), { filename: "compile.py" });
