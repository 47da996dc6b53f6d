// Opens the pages in one browser and checks what a reader and a keyboard find there. Started by tests/core/page.rs with the
// plan as JSON: {modules, browser, stages: [{name, url, running, words}]}. A stage has so many JVMs whose rows contain the
// words; without words they stand still, and there are no others. Prints one problem a line.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const plan = JSON.parse(process.argv[2]);
const require = createRequire(`${plan.modules}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// No condition of a healthy page takes this long.
const PATIENCE = 60_000;
const LOOKS = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  { name: "narrow", colorScheme: "light", viewport: { width: 400, height: 800 } },
];

const problems = [];
let place = "";
const check = (condition, problem) => { if (!condition) problems.push(`${place}: ${problem}`); };

// Notes errors of the console and requests that leave the exporter.
const watch = (page, origin) => {
  page.on("console", (message) => check(message.type() !== "error", `the console says ${message.text()}`));
  page.on("pageerror", (error) => check(false, `the script fails: ${error}`));
  page.on("request", (request) => {
    const url = request.url();
    check(url.startsWith(`${origin}/`) || url.startsWith("data:"), `a request to ${url}`);
  });
};

const open = async (browser, options, url) => {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  watch(page, new URL(url).origin);
  const response = await page.goto(url);
  check(response.status() === 200, `status ${response.status()}`);
  return page;
};

const accessible = async (browser, url, look) => {
  place = `${url} ${look.name}`;
  const page = await open(browser, { ...look, bypassCSP: true }, url);
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, impact, help, nodes } of found.violations) {
    if (impact === "serious" || impact === "critical") {
      check(false, `axe finds ${id} (${impact}): ${help}; ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`).join(" | ")}`);
    }
  }
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  check(width <= look.viewport.width, `it is ${width} wide`);
  await page.context().close();
};

const updates = (page) => page.evaluate(() => Number(document.getElementById("live").dataset.updates ?? 0));
const updated = async (page) => {
  const before = await updates(page);
  await page.waitForFunction((count) => Number(document.getElementById("live").dataset.updates ?? 0) > count, before);
};
const rows = (page, stage) => page.locator("tr[data-row]:visible", { hasText: stage.words });

// What the page draws is what the exporter says elsewhere, of JVMs that stand still.
const agrees = async (page, stage) => {
  const overview = await (await page.request.get(`${stage.url}/overview`)).json();
  check(overview.jvms.length === stage.running, `/overview has ${overview.jvms.length} JVMs`);
  const metrics = await (await page.request.get(`${stage.url}/metrics`)).text();
  const used = new Map();
  for (const line of metrics.split("\n")) {
    const found = /^jvm_hotspot_heap_used_bytes\{app="([^"]*)",slot="(\d+)"\} (\S+)/.exec(line);
    if (found) used.set(`${found[1]}/${found[2]}`, Number(found[3]));
  }
  const drawn = await page.$$eval("tr[data-row]", (rows) => rows.map((row) => ({
    path: new URL(row.querySelector("th a").href).pathname,
    heap: row.querySelector("td[data-l=Heap]").textContent,
  })));
  const scales = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
  let compared = 0;
  for (const { path, heap } of drawn) {
    const found = /^([\d.]+) (B|KiB|MiB|GiB)(?! committed)/.exec(heap);
    const said = used.get(decodeURIComponent(path.slice("/jvm/".length)));
    if (!found || said === undefined) continue;
    const bytes = Number(found[1]) * scales[found[2]];
    check(Math.abs(bytes - said) <= said * 0.01 + 1, `${path} has ${heap}, and ${said} bytes in /metrics`);
    compared += 1;
  }
  check(compared > stage.running / 2, `only ${compared} heaps could be compared`);
};

const overview = async (browser, stage) => {
  place = `${stage.name} /`;
  const page = await open(browser, LOOKS[0], `${stage.url}/`);
  if (stage.running === 0) {
    check((await page.textContent("#live")).includes("No JVM found"), "it does not say that there is no JVM");
    await page.context().close();
    return;
  }
  const shown = rows(page, stage);
  check((await shown.count()) === stage.running, `${await shown.count()} rows`);
  if (!stage.words) await agrees(page, stage);
  // The keyboard, the filter, and an update that keeps both.
  const link = shown.first().locator("th a");
  const name = (await link.textContent()).trim();
  await page.keyboard.press("/");
  await page.keyboard.type(name);
  const matches = page.locator("tr[data-row]:visible");
  const found = await matches.count();
  check(stage.words ? found === 1 : found >= 1, `the filter ${name} shows ${found} rows`);
  await updated(page);
  check((await matches.count()) === found, "the filter does not outlive an update");
  check(await page.evaluate(() => document.activeElement.id === "filter"), "an update takes the focus");
  await page.keyboard.press("Escape");
  check((await shown.count()) === stage.running, "Escape does not end the filter");
  await page.keyboard.type("no such jvm");
  check((await matches.count()) === 0, "a filter that nothing matches shows rows");
  await page.keyboard.press("Escape");
  await link.focus();
  const href = await link.getAttribute("href");
  await updated(page);
  check((await page.evaluate(() => document.activeElement.getAttribute("href"))) === href, "a link loses the focus at an update");
  const display = () => page.locator("table.jvms tbody").evaluate((body) => getComputedStyle(body).display);
  await page.getByText("Cards", { exact: true }).click();
  check((await display()) === "grid", "no cards");
  await page.reload();
  check((await display()) === "grid", "cards are forgotten");
  await page.getByText("Table", { exact: true }).click();
  check((await display()) !== "grid", "no table");
  await page.locator(`a[href="${href}"]`).click();
  await page.waitForURL("**/jvm/**");
  await jvm(page, stage);
  await page.context().close();
  return href;
};

const jvm = async (page, stage) => {
  place = `${stage.name} ${new URL(page.url()).pathname}`;
  await page.locator("figure.chart svg").first().waitFor();
  for (const title of ["Heap", "Threads"]) {
    const chart = page.locator("figure.chart", { has: page.getByRole("heading", { name: title, exact: true }) });
    check((await chart.locator("path.line").first().getAttribute("d")).length > 3, `${title} has no line`);
    const ticks = await chart.locator(".y li").allTextContents();
    check(ticks.length >= 2 && new Set(ticks).size === ticks.length, `the axis of ${title} has the ticks ${ticks}`);
  }
  const drawn = await page.locator(".line.threads").first().getAttribute("d");
  check(!/NaN|Infinity/.test(drawn), `a line is ${drawn}`);
  await updated(page);
  const explained = await page.request.get(await page.getByRole("link", { name: /Which rule/ }).evaluate((link) => link.href));
  check((await explained.text()).includes("profile otel"), "the explanation is empty");
  await page.getByRole("link", { name: "← All JVMs" }).click();
  await page.waitForURL(`${stage.url}/`);
};

const withoutScripts = async (browser, stage) => {
  place = `${stage.name} / without scripts`;
  const page = await open(browser, { ...LOOKS[0], javaScriptEnabled: false }, `${stage.url}/`);
  check((await rows(page, stage).count()) === stage.running, `${await rows(page, stage).count()} rows`);
  check(!(await page.locator("#filter").isVisible()), "a filter that does nothing is shown");
  await rows(page, stage).first().locator("th a").click();
  await page.locator("figure.chart path.line").first().waitFor({ state: "attached" });
  await page.context().close();
};

const browser = await chromium.launch({
  executablePath: plan.browser,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"],
});
try {
  for (const stage of plan.stages) {
    const href = await overview(browser, stage);
    for (const look of LOOKS) await accessible(browser, `${stage.url}/`, look);
    if (href) {
      await withoutScripts(browser, stage);
      for (const look of LOOKS) await accessible(browser, stage.url + href, look);
    }
  }
} catch (error) {
  problems.push(`${place}: ${error}`);
}
await browser.close();
for (const problem of problems) console.log(problem);
process.exit(problems.length === 0 ? 0 : 1);
