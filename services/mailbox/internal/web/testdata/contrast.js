// Evaluated by accessibility_test.go: the text of a page whose contrast is below 4.5, or 3 when it is large.
(() => {
	const parse = (text) => {
		const n = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
		const scale = text.startsWith("color(") ? 255 : 1;
		return { r: n[0] * scale, g: n[1] * scale, b: n[2] * scale, a: n[3] ?? 1 };
	};
	const over = (top, below) => ({
		r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1,
	});
	const light = ({ r, g, b }) => {
		const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * x + 0.7152 * y + 0.0722 * z;
	};
	const behind = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) {
			const colour = parse(getComputedStyle(e).backgroundColor);
			layers.push(colour);
			if (colour.a === 1) break;
		}
		return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
	};
	const found = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let looked = 0;
	for (let node; (node = walker.nextNode());) {
		const e = node.parentElement;
		if (!node.data.trim() || !e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || e.closest(".unseen, .skip, template")) continue;
		const style = getComputedStyle(e), ground = behind(e);
		const [a, b] = [light(over(parse(style.color), ground)), light(ground)].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05), pixels = parseFloat(style.fontSize);
		const large = pixels >= 24 || (pixels >= 18.66 && Number(style.fontWeight) >= 700);
		looked++;
		if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} "${node.data.trim().slice(0, 40)}" ${style.color} on ${JSON.stringify(ground)}`);
	}
	if (!looked) found.push("no text was looked at");
	return found;
})()
