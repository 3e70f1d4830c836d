// A static server for the tests, on a free port of this machine.

import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const types = { ".html": "text/html; charset=utf-8", ".json": "application/json", ".yaml": "application/yaml" };

export async function serve(folder) {
	const server = http.createServer((request, response) => {
		let file = path.join(folder, path.normalize(decodeURIComponent(new URL(request.url, "http://x").pathname)));
		if (file.endsWith(path.sep)) file += "index.html";
		if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return response.writeHead(404).end();
		response.writeHead(200, { "Content-Type": types[path.extname(file)] ?? "application/octet-stream" });
		fs.createReadStream(file).pipe(response);
	});
	await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
	return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
