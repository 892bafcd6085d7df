// What the tests of the layout ask of a page, as functions of one object. Each returns a
// list of sentences, one for each thing that is wrong.
({
	// name tells an element so that a person finds it, and the same way after it was drawn anew.
	name(e) {
		const path = [];
		for (; e && e !== document.documentElement; e = e.parentElement) {
			// The property of a form with a field of that name is the field.
			const id = e.getAttribute("id");
			if (id) {
				path.unshift("#" + id);
				break;
			}
			const same = [...(e.parentElement?.children ?? [])].filter(s => s.localName === e.localName);
			path.unshift(e.localName + (same.length > 1 ? `:nth-of-type(${same.indexOf(e) + 1})` : ""));
		}
		return path.join(" > ");
	},

	// shown are the elements that a selector finds and a reader sees.
	shown(selector) {
		return [...document.querySelectorAll(selector)].filter(e => e.checkVisibility({visibilityProperty: true, opacityProperty: true}) && e.getClientRects().length > 0);
	},

	// interactive are the elements that something can be done with.
	interactive() {
		return this.shown("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex='-1'])").filter(e => !e.disabled);
	},

	// wide is what makes the document wider than the window.
	wide() {
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= width) {
			return [];
		}
		// What scrolls in a box of its own makes nothing wider but that box.
		const boxed = e => {
			for (e = e.parentElement; e && e !== document.body; e = e.parentElement) {
				if (getComputedStyle(e).overflowX !== "visible") {
					return true;
				}
			}
			return false;
		};
		return [`the document is ${document.documentElement.scrollWidth} wide, the window ${width}`,
			...this.shown("body *").filter(e => e.getBoundingClientRect().right > width + 0.5 && !boxed(e)).slice(0, 10)
				.map(e => `${this.name(e)} ends at ${e.getBoundingClientRect().right}`)];
	},

	// small are the things to touch of less than 24 by 24 pixels. A link in a sentence is
	// as high as its line (WCAG 2.2, 2.5.8, "Inline"), and what is left of the page until it
	// has the focus cannot be touched.
	small() {
		const inline = e => e.localName === "a" && getComputedStyle(e).display === "inline" && e.parentElement.innerText.trim() !== e.innerText.trim();
		return this.interactive().filter(e => !inline(e)).map(e => [e, e.getBoundingClientRect()])
			.filter(([, r]) => r.right > 0).filter(([, r]) => r.width < 23.5 || r.height < 23.5)
			.map(([e, r]) => `${this.name(e)} ("${e.innerText.trim()}") is ${r.width.toFixed(1)} by ${r.height.toFixed(1)}`);
	},

	// rgba are the parts of a color in any notation, from 0 to 255 and to 1.
	rgba(color) {
		this.pixel ??= Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
		this.pixel.clearRect(0, 0, 1, 1);
		this.pixel.fillStyle = color;
		this.pixel.fillRect(0, 0, 1, 1);
		const [r, g, b, a] = this.pixel.getImageData(0, 0, 1, 1).data;
		return [r, g, b, a / 255];
	},

	// over is a color laid over one without transparency.
	over([r, g, b, a], under) {
		return [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
	},

	// behind is the color behind the text of an element.
	behind(e) {
		const layers = [];
		for (; e; e = e.parentElement) {
			const color = this.rgba(getComputedStyle(e).backgroundColor);
			layers.unshift(color);
			if (color[3] === 1) {
				break;
			}
		}
		return layers.reduce((under, color) => this.over(color, under), this.rgba("Canvas").slice(0, 3));
	},

	// light is the relative luminance of WCAG.
	light(color) {
		const [r, g, b] = color.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	},

	// faint are the texts with less contrast than 4.5, or 3 where they are large (WCAG 1.4.3).
	faint() {
		const texts = new Map();
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (walk.nextNode()) {
			if (walk.currentNode.data.trim()) {
				texts.set(walk.currentNode.parentElement, walk.currentNode.data.trim());
			}
		}
		const out = [];
		for (const [e, text] of texts) {
			if (["script", "style", "noscript", "template", "title", "desc"].includes(e.localName) || !e.checkVisibility({visibilityProperty: true}) || e.closest(":disabled")) {
				continue;
			}
			const style = getComputedStyle(e), behind = this.behind(e);
			const color = this.rgba(e.namespaceURI.endsWith("/svg") ? style.fill : style.color);
			for (let up = e; up; up = up.parentElement) {
				color[3] *= getComputedStyle(up).opacity;
			}
			const [a, b] = [this.light(this.over(color, behind)), this.light(behind)];
			const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
			const large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
			if (ratio < (large ? 3 : 4.5)) {
				out.push(`${this.name(e)} ("${text.slice(0, 40)}") has a contrast of ${ratio.toFixed(2)}`);
			}
		}
		return out;
	},

	// look is how an element is marked, to be compared with and without the focus.
	look(e) {
		const s = getComputedStyle(e);
		return [s.outlineStyle === "none" ? "none" : [s.outlineStyle, s.outlineWidth, s.outlineColor].join(" "), s.boxShadow, s.backgroundColor, s.borderColor, s.textDecorationLine].join("; ");
	},

	// focused is the element with the focus and how it is marked; null for none.
	focused() {
		const e = document.activeElement;
		return !e || e === document.body || e === document.documentElement ? null : {name: this.name(e), look: this.look(e)};
	},

	// reachable are the interactive elements and how they are marked without the focus.
	reachable() {
		document.activeElement?.blur();
		return this.interactive().map(e => ({name: this.name(e), look: this.look(e)}));
	},
})
