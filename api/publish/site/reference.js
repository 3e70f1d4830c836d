// The page opens at the first operation.
if (!location.hash) history.replaceState(null, "", "#/token/gettokeninfo");
// Redoc's search box is not a button for a keyboard or a screen reader: make it one, whenever it is drawn anew.
new MutationObserver(() => {
	for (const box of document.querySelectorAll('[data-testid="search-trigger"]:not([role])')) {
		box.setAttribute("role", "button");
		box.tabIndex = 0;
		box.addEventListener("keydown", (event) => {
			if (event.key !== "Enter" && event.key !== " ") return;
			event.preventDefault();
			box.click();
		});
	}
}).observe(document.getElementById("redoc"), { childList: true, subtree: true });
