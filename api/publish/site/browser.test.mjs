// Opens the built site in a browser. SITE is the folder (dist/ at the root), SCREENSHOTS the one for pictures.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { parse } from "yaml";
import { root } from "../lint.mjs";
import { serve } from "./serve.mjs";

const dist = process.env.SITE || path.join(root, "dist");
const pictures = process.env.SCREENSHOTS || path.join(root, "dist-screenshots");
const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const spec = parse(fs.readFileSync(path.join(dist, "openapi.yaml"), "utf8"));
const widths = [400, 1400];

let site, browser;
before(async () => {
	site = await serve(dist);
	// Without a sandbox: the machines that run this are containers, and the pages are our own.
	browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
});
after(async () => {
	await browser?.close();
	site?.close();
});

// visit runs a test on a page, and fails it for any complaint of the page and any request elsewhere.
function visit(name, address, options, check) {
	test(name, async () => {
		const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
		const page = await context.newPage();
		const faults = [];
		page.on("console", (m) => ["error", "warning"].includes(m.type()) && faults.push(`console: ${m.text()}`));
		page.on("pageerror", (e) => faults.push(`error: ${e}`));
		page.on("requestfailed", (r) => faults.push(`failed: ${r.url()}`));
		page.on("response", (r) => r.status() >= 400 && faults.push(`${r.status()}: ${r.url()}`));
		page.on("request", (r) => {
			if (!r.url().startsWith(site.url) && !/^(data|blob):/.test(r.url())) faults.push(`request to ${r.url()}`);
		});
		try {
			await page.goto(new URL(address, site.url).href, { waitUntil: "networkidle" });
			if (address.includes("reference")) await search(page).getByText("Search").waitFor({ state: "attached" }); // its index is built
			await check(page);
			assert.deepEqual(faults, []);
		} finally {
			await context.close();
		}
	});
}

const search = (page) => page.getByTestId("search-trigger");

const operations = Object.values(spec.paths).flatMap((item) => Object.values(item));
const hash = (op) => `#/${op.tags[0]}/${op.operationId}`.toLowerCase();
const sections = operations.map((op) => [op, `[id="${hash(op).slice(2)}"]`]);

// layout finds what makes a page hard to read: a page that scrolls sideways, text that is cut off, tiny text.
async function layout(page) {
	const bad = await page.evaluate(() => {
		const found = [];
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
		const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let node = walker.nextNode(); node; node = walker.nextNode()) {
			const element = node.parentElement;
			if (!node.data.trim() || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
			if (element.closest(".skip, script, style, noscript, svg")) continue;
			const text = node.data.trim().slice(0, 40);
			if (parseFloat(getComputedStyle(element).fontSize) < 11) found.push(`tiny: ${text}`);
			const range = document.createRange();
			range.selectNodeContents(node);
			const box = range.getBoundingClientRect();
			let scrolls = false;
			for (let up = element; up && !scrolls; up = up.parentElement) {
				const style = getComputedStyle(up);
				scrolls = /auto|scroll/.test(style.overflowX) || style.textOverflow === "ellipsis";
			}
			if (box.width && !scrolls && (box.right > width + 1 || box.left < -1)) found.push(`cut: ${text}`);
		}
		return found;
	});
	assert.deepEqual(bad, []);
}

async function accessible(page, except = []) {
	await page.evaluate(axe);
	const { violations, passes } = await page.evaluate(() => window.axe.run());
	assert.ok(passes.length > 10, "axe looked at little");
	const grave = violations.filter((v) => ["serious", "critical"].includes(v.impact) && !except.includes(v.id));
	assert.deepEqual(grave.map((v) => [v.id, v.nodes.map((n) => `${n.html.slice(0, 120)} ${n.failureSummary}`)]), []);
}

// The button for examples is called "Example", and shows which one is chosen.
const knownOfRedoc = ["label-content-name-mismatch"];

async function picture(page, name, fullPage = false) {
	fs.mkdirSync(pictures, { recursive: true });
	await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage });
}

// tabTo presses Tab until the wanted element has the focus, and makes sure that one sees it.
async function tabTo(page, matches, limit = 80) {
	for (let i = 0; i < limit; i++) {
		await page.keyboard.press("Tab");
		const on = page.locator(":focus");
		if ((await on.count()) && (await on.evaluate(matches))) {
			const outline = await on.evaluate((e) => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth);
			assert.match(outline, /^(solid|auto)[1-9]/, "the focus cannot be seen");
			return;
		}
	}
	assert.fail(`not reached with ${limit} times Tab: ${matches}`);
}

for (const width of widths) {
	for (const colorScheme of ["light", "dark"]) {
		const options = { viewport: { width, height: 900 }, colorScheme };
		visit(`the index reads well, ${width} px, ${colorScheme}`, "", options, async (page) => {
			await picture(page, `index-${width}-${colorScheme}`, true);
			await layout(page);
			await accessible(page);
		});
		visit(`the deviations read well, ${width} px, ${colorScheme}`, "DEVIATIONS.html", options, async (page) => {
			await picture(page, `deviations-${width}-${colorScheme}`);
			await layout(page);
			await accessible(page);
		});
		visit(`the reference reads well, ${width} px, ${colorScheme}`, "reference.html", options, async (page) => {
			assert.match(page.url(), /#\/token\/gettokeninfo$/);
			await picture(page, `reference-${width}-${colorScheme}`);
			await layout(page);
			await accessible(page, knownOfRedoc);
		});
		for (const [op, section] of sections) {
			visit(`${op.operationId} reads well, ${width} px, ${colorScheme}`, `reference.html${hash(op)}`, options, async (page) => {
				await page.locator(section).getByText(op.summary).first().waitFor();
				await picture(page, `${op.operationId}-${width}-${colorScheme}`);
				await layout(page);
				await accessible(page, knownOfRedoc);
			});
		}
	}
}

for (const [op, section] of sections) {
	visit(`${op.operationId} is shown with its examples`, `reference.html${hash(op)}`, {}, async (page) => {
		const shown = page.locator(section);
		const [method, url] = Object.entries(spec.paths).flatMap(([url, item]) => Object.entries(item).map(([m, o]) => [m, url, o]))
			.find(([, , o]) => o.operationId === op.operationId);
		assert.ok((await shown.innerText()).toLowerCase().includes(`${method}\n${url}`));
		assert.ok((await shown.innerText()).includes("curl"), "there is no curl command");
		const status = Object.keys(op.responses).filter((s) => s < "300").at(-1);
		if (status !== "200") await shown.getByText(status, { exact: true }).last().click();
		const success = op.responses[status].content["application/json"].examples;
		const examples = Object.values(success).map((e) => spec.components.examples[e.$ref.split("/").pop()]);
		if (examples.length === 1) { // there is nothing to choose
			await shown.locator("pre").filter({ hasText: "example-" }).last().waitFor();
			return;
		}
		assert.ok(examples.length > 1);
		for (const { summary, value } of examples) {
			await shown.getByLabel("Example", { exact: true }).click();
			await page.getByRole("option", { name: summary }).or(page.getByRole("menuitem", { name: summary })).first().click();
			const body = shown.locator("pre").filter({ hasText: "enterprise" }).last();
			await body.getByText(JSON.stringify(value.id), { exact: true }).waitFor();
			assert.deepEqual(JSON.parse(await body.innerText()), value);
		}
	});
}

for (const width of widths) {
	visit(`search finds an operation by the keyboard alone, ${width} px`, "reference.html", { viewport: { width, height: 900 } }, async (page) => {
		if (!(await search(page).isVisible())) {
			await tabTo(page, (e) => e.getAttribute("aria-label") === "Open navigation menu");
			await page.keyboard.press("Enter");
		}
		await tabTo(page, (e) => e.dataset.testid === "search-trigger", 300); // Redoc has its menu behind the page
		await page.keyboard.press("Enter");
		await page.getByPlaceholder(/^Search/).waitFor();
		await page.keyboard.type("locks its owner");
		const found = page.locator('[data-component-name="Search/SearchItem"]').filter({ hasText: "Renew a token" }).first();
		await found.waitFor();
		await picture(page, `search-${width}`);
		const box = await found.boundingBox();
		assert.ok(box.x + box.width <= width, "a result of the search is cut");
		await page.keyboard.press("ArrowDown");
		await page.keyboard.press("Enter");
		await page.waitForURL(/#\/token\/renewtoken/);
	});
}

visit("the menu of the reference works by the keyboard", "reference.html", {}, async (page) => {
	await tabTo(page, (e) => e.matches('a[href="#/token"]'));
	await page.keyboard.press("Enter");
	await page.waitForURL(/#\/token/);
	await tabTo(page, (e) => e.matches('a[href="#/token/renewtoken"]'));
});

visit("the links of the index are reached by the keyboard", "", {}, async (page) => {
	const links = await page.locator("a[href]").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
	const seen = new Set();
	for (let i = 0; i < links.length + 20; i++) {
		await tabTo(page, () => true, 1);
		seen.add(await page.locator(":focus").getAttribute("href"));
		if (links.every((href) => seen.has(href))) return;
	}
	assert.deepEqual(links.filter((href) => !seen.has(href)), []);
});
