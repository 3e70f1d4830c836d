for (const sample of document.querySelectorAll(".sample")) {
	const button = document.createElement("button");
	button.type = "button";
	button.textContent = "Copy";
	button.setAttribute("aria-label", `Copy: ${sample.ariaLabel}`);
	button.addEventListener("click", async () => {
		try {
			await navigator.clipboard.writeText(sample.querySelector("code").textContent);
			button.textContent = "Copied";
		} catch { // no permission: the reader copies what is selected
			getSelection().selectAllChildren(sample.querySelector("code"));
			button.textContent = "Selected";
		}
		setTimeout(() => (button.textContent = "Copy"), 2000);
	});
	sample.firstElementChild.append(button);
}
