// Opens the built site in a browser. SITE is the folder (dist/ at the root), SCREENSHOTS the one for pictures.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { parse } from "yaml";
import { root } from "../lint.mjs";
import { operations } from "./reference.mjs";
import { serve } from "./serve.mjs";

const dist = process.env.SITE || path.join(root, "dist");
const pictures = process.env.SCREENSHOTS || path.join(root, "dist-screenshots");
const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const spec = parse(fs.readFileSync(path.join(dist, "openapi.yaml"), "utf8"));
const pages = fs.readdirSync(dist).filter((file) => file.endsWith(".html"));

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

// visit runs a test on a page, and fails it for any complaint of the page and any request for something else.
function visit(name, address, options, check) {
	test(name, async () => {
		const context = await browser.newContext({ viewport: { width: 1024, height: 900 }, ...options });
		const page = await context.newPage();
		const faults = [], wanted = new URL(address, site.url).href;
		page.on("console", (m) => ["error", "warning"].includes(m.type()) && faults.push(`console: ${m.text()}`));
		page.on("pageerror", (e) => faults.push(`error: ${e}`));
		page.on("request", (r) => r.url() !== wanted.split("#")[0] && !r.url().startsWith("data:") && faults.push(`request for ${r.url()}`));
		try {
			await page.goto(wanted, { waitUntil: "networkidle" });
			await check(page);
			assert.deepEqual(faults, []);
		} finally {
			await context.close();
		}
	});
}

// layout finds what makes a page hard to read: a page that scrolls sideways, text that is cut off, tiny text, a word of a
// table that is broken, a button over text, and a cell of a small screen without its label.
async function layout(page) {
	const bad = await page.evaluate(() => {
		const found = [], width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
		const buttons = [...document.querySelectorAll("button")].map((b) => [b, b.getBoundingClientRect()]);
		const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		let words = 0;
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
			for (let up = element; up && !scrolls; up = up.parentElement) scrolls = /auto|scroll/.test(getComputedStyle(up).overflowX) && up.matches("pre");
			if (box.width && !scrolls && !element.closest("thead") && (box.right > width + 1 || box.left < -1)) found.push(`cut: ${text}`);
			for (const [button, b] of buttons) {
				if (!button.contains(node) && box.left < b.right && box.right > b.left && box.top < b.bottom && box.bottom > b.top) found.push(`under a button: ${text}`);
			}
			if (!element.closest("table")) continue;
			for (const word of node.data.matchAll(/[\p{L}\d_]+(-[\p{L}\d_]+)*/gu)) {
				if (word[1] && word[0].length > 24) continue;
				range.setStart(node, word.index);
				range.setEnd(node, word.index + word[0].length);
				if (new Set([...range.getClientRects()].filter((r) => r.width).map((r) => Math.round(r.top))).size > 1) found.push(`broken: ${word[0]}`);
				words++;
			}
		}
		if (document.querySelector("table") && words < 30) found.push(`only ${words} words in tables`);
		for (const { previousSibling: before } of document.querySelectorAll("td wbr")) {
			if (/(?<!~1)(?<=[\p{L}\d_])$/u.test(before.textContent)) found.push(`may be broken after: ${before.textContent}`);
		}
		for (const cell of document.querySelectorAll("td")) {
			const label = getComputedStyle(cell, "::before").content;
			if (width < 960 && cell.textContent && label !== JSON.stringify(cell.dataset.label)) found.push(`no label: ${cell.textContent.slice(0, 40)}`);
		}
		for (const table of document.querySelectorAll(".table")) {
			if (table.scrollWidth > table.clientWidth + 1) found.push(`a table of ${table.scrollWidth} px in ${table.clientWidth}`);
		}
		return found;
	});
	assert.deepEqual(bad, []);
}

async function accessible(page) {
	await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
	await page.evaluate(axe);
	const { violations, passes } = await page.evaluate(() => window.axe.run());
	assert.ok(passes.length > 10, "axe looked at little");
	assert.deepEqual(violations.map((v) => [v.id, v.nodes.map((n) => `${n.html.slice(0, 120)} ${n.failureSummary}`)]), []);
}

for (const width of [390, 1024, 1600]) {
	for (const colorScheme of ["light", "dark"]) {
		for (const file of pages) {
			visit(`${file} reads well, ${width} px, ${colorScheme}`, file, { viewport: { width, height: 900 }, colorScheme, bypassCSP: true }, async (page) => {
				fs.mkdirSync(pictures, { recursive: true });
				await page.screenshot({ path: path.join(pictures, `${file.replace(".html", "")}-${width}-${colorScheme}.png`), fullPage: true });
				await accessible(page);
				await layout(page);
			});
		}
	}
}

for (const file of pages) {
	visit(`${file} has a title, a description, an icon, and headings that can be linked`, file, {}, async (page) => {
		const head = await page.evaluate(() => [document.title, document.querySelector("meta[name=description]").content, document.querySelector("link[rel=icon]").href]);
		assert.ok(head.every((text) => text.length > 10), head);
		const bare = await page.locator("h2, h3, h4, tbody tr").evaluateAll((all) => all.filter((e) => !e.id && (e.tagName !== "TR" || /^D\d\d/.test(e.textContent))).map((e) => e.textContent));
		assert.deepEqual(bare, []);
		const twice = await page.locator("[id]").evaluateAll((all) => all.map((e) => e.id).filter((id, i, ids) => ids.indexOf(id) !== i));
		assert.deepEqual(twice, []);
	});
	visit(`every sample of ${file} can be copied`, file, { permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
		await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
		const samples = page.locator("pre");
		const names = await page.locator(".sample").evaluateAll((all) => all.map((s) => s.ariaLabel));
		assert.equal(await page.getByRole("button", { name: /^Copy: / }).count(), await samples.count());
		assert.equal(new Set(names).size, await samples.count(), "two samples have one name");
		for (const sample of (await page.locator(".sample").all()).slice(0, 3)) {
			await sample.getByRole("button").click();
			assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await sample.locator("code").textContent());
		}
	});
}

visit("the reference opens at the introduction, and shows every operation", "reference.html", {}, async (page) => {
	assert.equal(await page.evaluate(() => scrollY), 0);
	const heading = page.locator("h2").first();
	assert.equal(await heading.innerText(), "Introduction");
	assert.ok((await heading.boundingBox()).y < 900, "the introduction is out of sight");
	for (const op of operations(spec)) {
		const shown = page.locator(`section[aria-labelledby="${op.operationId}"]`);
		const text = await shown.innerText();
		assert.ok(text.includes(`${op.method.toUpperCase()} ${op.url}`) && text.includes(op.summary) && text.includes("curl") && text.includes("Retry-After"), op.operationId);
		const samples = await shown.locator("pre").evaluateAll((all) => all.map((s) => s.textContent));
		for (const [status, part] of Object.entries(op.responses).filter(([status]) => status < "300")) {
			for (const example of Object.values(part.content["application/json"].examples)) {
				const { value } = spec.components.examples[example.$ref.split("/").pop()];
				assert.ok(samples.includes(JSON.stringify(value, null, 2)), `${op.operationId} ${status}`);
			}
		}
	}
});

visit("a link into the reference leads to its place", "reference.html#TokenRenewV0.token", {}, async (page) => {
	const box = await page.locator('[id="TokenRenewV0.token"]').boundingBox();
	assert.ok(box.y >= 0 && box.y < 900, `it is at ${box.y} px`);
});

visit("the links of the index are reached by the keyboard, and one sees it", "", {}, async (page) => {
	const links = await page.locator("a[href]").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
	const seen = new Set();
	for (let i = 0; i < 4 * links.length && !links.every((href) => seen.has(href)); i++) {
		await page.keyboard.press("Tab");
		const on = page.locator(":focus");
		const [href, outline] = await on.evaluate((e) => [e.getAttribute("href"), getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth]);
		assert.match(outline, /^(solid|auto)[1-9]/, "the focus cannot be seen");
		seen.add(href);
	}
	assert.deepEqual(links.filter((href) => !seen.has(href)), []);
});
