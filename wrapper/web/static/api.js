// openapi.json made readable: each call with its curl line to copy.
import { get, h, show } from "./common.js";

export async function api() {
  document.title = "API · Builds";
  const spec = await get("/openapi.json");
  const calls = Object.entries(spec.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => ({ path, method: method.toUpperCase(), about })));
  const groups = spec.tags.map(({ name }) => [name, calls.filter(({ about }) => about.tags.includes(name))]);
  show(
    h("section.api", {}, h("h1", {}, "API"), h("p", {}, spec.info.description), h("p", {}, h("a", { href: "/api/v1/openapi.json" }, "openapi.json"), " is the same, for programs."),
      h("pre", {}, "TOKEN=$(cat FILE)   # of --token-file; as user name say who you are: it is noted")),
    ...groups.map(([name, some]) => h("section.api", {}, h("h2", {}, name), some.map((one) => call(spec, one)))));
}

const of = (spec, one) => one.$ref ? one.$ref.slice(2).split("/").reduce((part, key) => part[key], spec) : one;

function call(spec, { path, method, about }) {
  const known = (about.parameters ?? []).map((one) => of(spec, one));
  const body = of(spec, about.requestBody ?? {}).content?.["application/json"];
  const fields = Object.entries((body?.schema.properties) ?? {});
  const line = curl(path, method, about, body);
  const answers = Object.entries(about.responses).filter(([code]) => code !== "default").map(([code, one]) => [code, of(spec, one).description]);
  return h("details.call", { id: `call-${about.operationId}` },
    h("summary", {}, h(`b.method.is-${method.toLowerCase()}`, {}, method), h("code", {}, path), h("span", {}, about.summary), about["x-right"] ? h("i", {}, `--allow ${about["x-right"]}`) : null),
    about.description ? h("p", {}, about.description) : null,
    h(".line", {}, h("pre", {}, line), h("button", { type: "button", click: (event) => copy(line, event.target) }, "Copy")),
    known.length || fields.length ? h("dl", {}, known.map((one) => [h("dt", {}, h("code", {}, one.name), h("small", {}, ` ${one.in}`)), h("dd", {}, one.description ?? "")]),
      fields.map(([name, one]) => [h("dt", {}, h("code", {}, name), h("small", {}, " body")), h("dd", {}, one.description ?? one.type)])) : null,
    h("dl", {}, answers.map(([code, words]) => [h("dt", {}, h("code", {}, code)), h("dd", {}, words)])));
}

function curl(path, method, about, body) {
  const parts = ["curl -sS"];
  if (!about.security) parts.push('-u "me:$TOKEN"');
  if (about.operationId === "events") parts.push("-N");
  if (method !== "GET") parts.push(`-X ${method}`);
  if (body?.example) parts.push(`--json '${JSON.stringify(body.example)}'`);
  else if (about.operationId === "put_config") parts.push("-H 'If-Match: ETAG' -H 'Content-Type: application/json' --data-binary @config.json");
  const filled = path.replace("{owner}/{name}", "OWNER/NAME").replace("{id}", "latest").replace("{step}", "build").replace("{file}", "version").replace("{request}", "REQUEST").replace("{sender}", "github");
  return `${parts.join(" ")} ${location.origin}/api/v1${filled}`;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
