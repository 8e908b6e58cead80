// What is wrong with a page for somebody who sees little, hears it, or has no mouse: a
// list of {rule, element, why}. After the rules of WCAG 2.2, level AA, as far as a
// script can tell.
(() => {
  const found = [];
  const show = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 160);
  const report = (rule, element, why) => found.push({ Rule: rule, Element: show(element), Why: why });
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const hidden = (element) => !!element.closest("[aria-hidden=true], [hidden]");

  // The name that a screen reader says.
  function nameOf(element) {
    const by = element.getAttribute("aria-labelledby");
    if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    const label = element.getAttribute("aria-label") ?? [...(element.labels ?? [])].map((l) => l.textContent).join(" ");
    if (label.trim()) return label.trim();
    if (element.matches("input, select, textarea, progress")) return "";
    return (element.textContent + " " + all("img[alt], svg[aria-label]", element).map((i) => i.getAttribute("alt") ?? i.getAttribute("aria-label")).join(" ")).trim();
  }

  // The document.
  const root = document.documentElement;
  if (!root.lang) report("lang", root, "the page has no language");
  if (!document.title.trim()) report("title", root, "the page has no title");
  if (!document.querySelector("meta[name=viewport]")) report("viewport", root, "the page has no viewport");
  for (const [selector, what] of [["main", "main landmark"], ["h1", "heading of level 1"], ["nav[aria-label]", "named navigation"]]) {
    if (all(selector).length !== 1) report("landmark", document.body, `there are ${all(selector).length} of: ${what}`);
  }
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6").filter((h) => !hidden(h))) {
    const n = Number(heading.tagName[1]);
    if (n > level + 1) report("heading", heading, `level ${n} follows level ${level}`);
    if (!heading.textContent.trim()) report("heading", heading, "it is empty");
    level = n;
  }
  const skip = document.querySelector("a[href]");
  if (!skip?.getAttribute("href").startsWith("#") || !document.querySelector(skip.getAttribute("href"))) report("skip", document.body, "the first link does not skip to the content");

  // Ids and what refers to them.
  const ids = new Map();
  for (const element of all("[id]")) {
    if (ids.has(element.id)) report("id", element, `the id ${element.id} is taken`);
    ids.set(element.id, element);
  }
  for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls", "for", "list"]) {
    for (const element of all(`[${attribute}]`)) {
      for (const id of element.getAttribute(attribute).split(/\s+/)) if (!ids.has(id)) report("reference", element, `${attribute} names ${id}, which is not there`);
    }
  }

  // Names.
  for (const element of all("input:not([type=hidden]), select, textarea, progress, button, a[href], summary, [role=region], [role=img], img, section, nav")) {
    if (!hidden(element) && !nameOf(element) && element.getAttribute("alt") !== "") report("name", element, "it has no name");
  }
  for (const element of all("svg:not([role=img])")) if (!hidden(element)) report("name", element, "a picture is an image with a name, or hidden");
  const byName = new Map();
  for (const link of all("main a[href]").filter(visible)) {
    const name = nameOf(link) + " in " + (link.closest("section, tr, li, p")?.id ?? "");
    if (byName.has(name) && byName.get(name) !== link.href && /^(here|more|link|details)$/i.test(nameOf(link))) report("link", link, "its name says nothing");
    byName.set(name, link.href);
  }

  // Tables and lists.
  for (const header of all("th")) {
    if (!header.scope) report("table", header, "a header without a scope");
    if (!header.textContent.trim()) report("table", header, "an empty header");
  }
  for (const table of all("table")) if (!table.querySelector("th")) report("table", table, "a table without headers");
  for (const table of all("table").filter(visible)) {
    const heads = all("thead th", table).filter((th) => getComputedStyle(th).display !== "none").length;
    for (const row of all("tbody tr", table)) {
      const cells = [...row.cells].filter((cell) => getComputedStyle(cell).display === "table-cell").length;
      if (cells > 0 && cells !== heads) report("table", row, `${cells} cells below ${heads} headers`);
    }
  }
  for (const list of all("ul, ol")) for (const child of list.children) if (child.tagName !== "LI") report("list", child, "a child of a list that is no item");

  // What scrolls can be scrolled by the keyboard.
  for (const element of all("body *").filter(visible)) {
    const style = getComputedStyle(element);
    const scrolls = (/auto|scroll/.test(style.overflowX) && element.scrollWidth > element.clientWidth + 1) || (/auto|scroll/.test(style.overflowY) && element.scrollHeight > element.clientHeight + 1);
    if (scrolls && element.tabIndex < 0) report("scroll", element, "it scrolls, and cannot have the focus");
  }

  // Colours, as they come out: drawn over each other on a canvas of one pixel.
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  function mix(colours) {
    canvas.fillStyle = "#fff";
    canvas.fillRect(0, 0, 1, 1);
    for (const [colour, alpha] of colours) {
      canvas.globalAlpha = alpha;
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    canvas.globalAlpha = 1;
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  }
  const backgrounds = new Map();
  function behind(element) {
    if (!element) return [];
    if (!backgrounds.has(element)) {
      const style = getComputedStyle(element);
      backgrounds.set(element, [...behind(element.parentElement), [style.backgroundColor, Number(style.opacity)]]);
    }
    return backgrounds.get(element);
  }
  function luminance(rgb) {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function contrast(a, b) {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  }
  const seen = new Set();
  function check(element, colour, background, least, what) {
    const key = [colour, JSON.stringify(background), least].join();
    if (seen.has(key)) return;
    seen.add(key);
    let alpha = 1;
    for (let e = element; e; e = e.parentElement) alpha *= Number(getComputedStyle(e).opacity);
    const ratio = contrast(mix([...background, [colour, alpha]]), mix(background));
    if (ratio < least) report("contrast", element, `${what} has a contrast of ${ratio.toFixed(2)}, must be ${least}: ${colour} on ${mix(background)}`);
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !visible(element) || element.closest("script, datalist")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    if (size < 12) report("size", element, `text of ${size} px`);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    check(element, style.color, behind(element), large ? 3 : 4.5, "text");
  }
  for (const element of all("input, select, textarea").filter(visible)) {
    if (element.placeholder) check(element, getComputedStyle(element, "::placeholder").color, behind(element), 4.5, "a placeholder");
    if (element.type !== "checkbox") check(element, getComputedStyle(element).borderTopColor, behind(element.parentElement), 3, "a field's border");
  }
  for (const element of all("button").filter(visible)) check(element, getComputedStyle(element).borderTopColor, behind(element.parentElement), 3, "a button's border");
  for (const element of all("svg path").filter(visible)) check(element, getComputedStyle(element).stroke, behind(element.closest("svg").parentElement), 3, "a chart");
  for (const element of all("[data-bar]").filter(visible)) check(element, getComputedStyle(element).backgroundColor, behind(element.parentElement), 3, "a bar");

  // Targets of at least 24 by 24, or with as much room around their middle; links in a
  // sentence, and what can be had by another control, excepted.
  const targets = all("a[href], button, input:not([type=hidden]), select, textarea, summary").filter((e) => visible(e) && e.tabIndex >= 0 && e.getBoundingClientRect().right > 0)
    .map((element) => ({ element, box: element.labels?.[0]?.contains(element) ? element.labels[0].getBoundingClientRect() : element.getBoundingClientRect() }));
  for (const { element, box } of targets) {
    if (box.width >= 23.9 && box.height >= 23.9) continue;
    const inText = element.matches("a") && [...element.parentElement.childNodes].some((n) => n !== element && n.nodeType === Node.TEXT_NODE && n.data.trim());
    if (inText) continue;
    const x = box.left + box.width / 2, y = box.top + box.height / 2;
    const near = targets.find(({ element: other, box: b }) => other !== element && Math.hypot(Math.max(b.left - x, 0, x - b.right), Math.max(b.top - y, 0, y - b.bottom)) < 12);
    if (near) report("target", element, `it is ${box.width.toFixed(0)} by ${box.height.toFixed(0)} px, and too near to ${show(near.element)}`);
  }

  if (root.scrollWidth > innerWidth) {
    const widest = all("body *").filter(visible).find((e) => e.getBoundingClientRect().right > innerWidth + 0.5 && !e.parentElement.closest(".scroll, pre"));
    report("width", widest ?? root, `the page is ${root.scrollWidth} px wide, the window ${innerWidth}`);
  }
  return found;
})()
