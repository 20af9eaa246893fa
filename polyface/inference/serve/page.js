'use strict';
const model = JSON.parse(document.getElementById('about-model').textContent);
const byId = id => document.getElementById(id);
const spaced = word => word.replaceAll('_', ' ');
const percent = share => share >= 0.995 ? '> 99 %' : share < 0.005 ? '< 1 %' : `${Math.round(100 * share)} %`;
const number = (value, digits) => value.toFixed(digits).replace(/^-(?=[0.]+$)/, '').replace('-', '−');
const whole = value => Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);  // a half to the even number, as in the terminal
const AT_ONCE = 2;

// make('p', {className: 'quiet'}, 'text', otherElement): nothing is ever parsed as HTML.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter(child => child !== null));
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Asking the server

async function ask(path, files) {
  const form = new FormData();
  for (const [field, file] of Object.entries(files)) {
    if (file.size > model.largest) throw new Error(`${file.name}: larger than ${model.largest / 1e6} MB`);
    form.append(field, file, file.name);
  }
  let answer;
  try {
    answer = await fetch(path, {method: 'POST', body: form});
  } catch {
    throw new Error('The server does not answer. Does polyface serve still run?');
  }
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

// Views: #faces, #compare, #model

function view(event) {
  const names = [...document.querySelectorAll('[data-view]')].map(section => section.dataset.view);
  const asked = location.hash.slice(1), named = names.includes(asked);
  if (event && !named) return;  // a place on the page, such as #content
  const shown = named ? asked : 'faces';
  for (const section of document.querySelectorAll('[data-view]')) section.hidden = section.dataset.view !== shown;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#${shown}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (event) {
    scrollTo(0, 0);
    byId(`${shown}-title`).focus();
  }
}
addEventListener('hashchange', view);
for (const learned of document.querySelectorAll('[data-view=model] details:last-of-type')) learned.open = true;  // what they learned from is one click away
view();

// One picture: shown at once, answered in its turn

const waiting = [], kept = new Map();
let asking = 0;

function take(files) {
  const before = byId('pictures').firstChild;
  for (const file of files) {
    const article = make('article', {className: 'picture'});
    const url = URL.createObjectURL(file), image = make('img', {src: url, alt: ''});
    const photo = make('div', {className: 'photo waits'}, image);
    const said = make('p', {className: 'quiet'}, 'Waits for its turn');
    const away = make('button', {type: 'button', className: 'away', title: 'Take away', ariaLabel: `Take ${file.name} away`}, '×');
    const head = make('div', {className: 'head'}, make('h2', {title: file.name}, file.name), said, away);
    const faces = make('div', {className: 'faces'});
    article.append(head, photo, faces);
    const entry = {file, url, image, photo, said, faces, article, lines: null};
    away.addEventListener('click', () => leave(entry, true));
    image.addEventListener('error', () => { photo.hidden = true; });
    kept.set(article, entry);
    byId('pictures').insertBefore(article, before);
    waiting.push(entry);
  }
  count();
  next();
}

function leave(entry, refocus) {
  const neighbour = entry.article.nextElementSibling ?? entry.article.previousElementSibling;
  URL.revokeObjectURL(entry.url);
  kept.delete(entry.article);
  entry.article.remove();
  if (refocus) (neighbour?.querySelector('.away') ?? byId('choose')).focus();
  count();
}

async function next() {
  if (asking >= AT_ONCE || !waiting.length) return;
  const entry = waiting.shift();
  if (!kept.has(entry.article)) return next();
  asking += 1;
  entry.said.textContent = 'Is being looked at';
  try {
    entry.lines = await ask('/analyze?masks=true', {picture: entry.file});
    if (!entry.image.complete) await entry.image.decode().catch(() => {});
    show(entry);
  } catch (error) {
    entry.said.textContent = '';
    entry.faces.replaceChildren(make('p', {className: 'refused'}, error.message));
  }
  entry.photo.classList.remove('waits');
  asking -= 1;
  count();
  next();
  next();
}

function show(entry) {
  const faces = entry.lines.filter(line => line.box);
  entry.said.textContent = faces.length ? `${faces.length} face${faces.length === 1 ? '' : 's'}` : 'No face found';
  entry.image.alt = `${entry.file.name}, ${entry.said.textContent}`;
  const {naturalWidth: width, naturalHeight: height} = entry.image;
  if (width) {
    entry.photo.append(overlay(faces, [0, 0, width, height]));
    for (const [at, face] of faces.entries()) entry.photo.append(badge(entry, face, at, width, height));
    sized.observe(entry.photo);
  }
  entry.faces.append(...faces.map(face => cardOf(entry, face, width > 0)));
}

const accent = at => model.accents[at % model.accents.length];
const of = kind => model.tasks.filter(task => task.kind === kind);

// Boxes, points and regions of faces, in the pixels of the picture; shows the part [x, y, width, height] of it.
function overlay(faces, part) {
  const svg = draw('svg', {viewBox: part.join(' '), 'aria-hidden': 'true'});
  for (const [at, face] of faces.entries()) {
    const [x0, y0, x1, y1] = face.box, size = Math.max(x1 - x0, y1 - y0);
    const group = draw('g', {class: 'marks', 'data-face': face.face});
    group.style.setProperty('--face', accent(face.face));
    for (const {name} of of('Regions')) {
      if (!face[name]) continue;
      const [x, y] = face[name].at, image = draw('image', {class: 'regions', href: face[name].png, x, y});
      group.append(image);
    }
    group.append(draw('rect', {class: 'box', x: x0, y: y0, width: x1 - x0, height: y1 - y0, rx: size * 0.03}));
    for (const {name} of of('Points')) {
      if (!face[name]) continue;
      const dots = face[name].map(([x, y]) => `M${x} ${y}h0`).join('');
      group.append(draw('path', {class: 'points under', d: dots, 'stroke-width': size * 0.026}), draw('path', {class: 'points', d: dots, 'stroke-width': size * 0.016}));
    }
    svg.append(group);
  }
  return svg;
}

function badge(entry, face, at, width, height) {
  const [x0, y0, x1] = face.box;
  const mark = make('button', {type: 'button', className: 'badge', tabIndex: -1, title: `Face ${face.face}`}, String(face.face));
  mark.dataset.face = face.face;
  mark.dataset.wide = (x1 - x0) / width;
  mark.style.setProperty('--face', accent(face.face));
  mark.style.left = `${100 * Math.max(0, x0) / width}%`;
  mark.style.setProperty('--top', `${100 * Math.max(0, y0) / height}%`);
  mark.addEventListener('click', () => {
    choose(entry, face.face);
    entry.faces.children[at].scrollIntoView({block: 'nearest', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'});
  });
  return mark;
}

// Numbers of faces that are small on the screen are small too, and above their boxes: they would hide a crowd.
const sized = new ResizeObserver(entries => {
  for (const {target, contentRect} of entries) {
    for (const mark of target.querySelectorAll('.badge')) mark.classList.toggle('tight', mark.dataset.wide * contentRect.width < 48);
  }
});

function choose(entry, face) {
  for (const card of entry.faces.children) {
    const chosen = Number(card.dataset.face) === face && !card.classList.contains('chosen');
    card.classList.toggle('chosen', chosen);
    card.querySelector('.which')?.setAttribute('aria-pressed', chosen);
  }
  const some = entry.faces.querySelector('.chosen');
  for (const marks of entry.photo.querySelectorAll('.marks, .badge')) marks.classList.toggle('faint', Boolean(some) && marks.dataset.face !== some.dataset.face);
}

// What is said of one face

function cardOf(entry, face, pictured) {
  const card = make('section', {className: 'face'});
  card.dataset.face = face.face;
  card.style.setProperty('--face', accent(face.face));
  const which = make('button', {type: 'button', className: 'which', ariaPressed: 'false', title: 'Show this one only'}, make('i', {}, String(face.face)), ` Face ${face.face}`);
  which.addEventListener('click', () => choose(entry, face.face));
  const found = `found by ${face.detector}, ${face.score.toFixed(2)}`;
  card.append(make('h3', {}, which, make('span', {className: 'quiet'}, found)));
  const answers = make('div', {className: 'answers'}, ...model.tasks.filter(task => face[task.name]).map(task => answerTo(task, face[task.name])).filter(Boolean));
  card.append(make('div', {className: 'said'}, pictured ? thumbnail(entry, face) : '', answers));
  for (const note of face.notes) card.append(make('p', {className: 'note'}, note));
  return card;
}

function thumbnail(entry, face) {
  const [x0, y0, x1, y1] = face.box, size = 1.5 * Math.max(x1 - x0, y1 - y0, 1), side = 320;
  const part = [(x0 + x1 - size) / 2, (y0 + y1 - size) / 2, size, size];
  const canvas = make('canvas', {width: side, height: side}), scale = side / size;
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(entry.image, -part[0] * scale, -part[1] * scale, entry.image.naturalWidth * scale, entry.image.naturalHeight * scale);
  return make('div', {className: 'thumbnail'}, canvas, overlay([face], part));
}

function answerTo(task, answer) {
  const titled = (best, ...rest) => make('div', {className: `answer ${task.kind.toLowerCase()}`}, make('h4', {title: task.question}, spaced(task.name)), best, ...rest);
  switch (task.kind) {
    case 'Category': return titled(make('b', {}, spaced(answer.answer)), shares(answer));
    case 'Scale': return titled(make('b', {}, `${whole(answer[task.unit])} ${task.unit}`), line(task, answer));
    case 'Traits': return titled('', traits(answer));
    case 'Angles': return titled(make('span', {}, task.axes.map(axis => `${axis} ${number(whole(answer[axis]), 0)}°`).join(', ')));
  }
  return null;
}

// A bar for each word of the set, which is marked at the side, and for those that follow, three in all at least.
function shares(answer) {
  const set = answer.set ?? [], order = Object.keys(answer.probabilities).sort((a, b) => answer.probabilities[b] - answer.probabilities[a]);
  const rows = order.filter((word, at) => set.includes(word) || (at < 3 && answer.probabilities[word] >= 0.005)).map(word => {
    const share = answer.probabilities[word], bar = make('span', {className: 'share', ariaHidden: 'true'}, make('i', {}));
    bar.firstChild.style.width = `${100 * share}%`;
    const held = set.includes(word);
    return make('li', {className: held ? 'held' : ''}, make('span', {}, spaced(word), held ? make('span', {className: 'unseen'}, ' (in the set)') : ''), bar, make('span', {}, percent(share)));
  });
  return make('ul', {className: 'shares'}, ...rows);
}

function line(task, answer) {
  if (answer.low === undefined) return '';
  const top = task.top, at = share => `${Math.min(100, 100 * share / top)}%`;
  const range = make('i', {}), tick = make('b', {});
  range.style.left = at(answer.low);
  range.style.width = at(Math.max(1, answer.high - answer.low));
  tick.style.left = at(answer[task.unit]);
  return make('div', {className: 'range'}, make('span', {className: 'track', ariaHidden: 'true'}, range, tick), make('span', {}, `${answer.low} to ${answer.high}`));
}

function traits(answer) {
  const likely = Object.entries(answer).filter(([, share]) => share >= model.likely).sort((a, b) => b[1] - a[1]);
  const named = likely.map(([name, share]) => make('li', {}, spaced(name), make('span', {}, ` ${percent(share)}`)));
  return make('ul', {className: 'traits'}, ...(named.length ? named : [make('li', {}, 'none')]));
}

// Above the pictures

function count() {
  const entries = [...kept.values()], done = entries.filter(entry => entry.lines);
  const faces = done.reduce((sum, entry) => sum + entry.lines.filter(found => found.box).length, 0);
  const open = entries.filter(entry => entry.photo.classList.contains('waits')).length, refused = entries.length - done.length - open;
  byId('count').textContent = `${faces} face${faces === 1 ? '' : 's'} on ${done.length} picture${done.length === 1 ? '' : 's'}${refused ? `, ${refused} refused` : ''}${open ? `, ${open} to go` : ''}`;
  for (const id of ['bar', 'how']) byId(id).hidden = !entries.length;
  byId('take').classList.toggle('small', entries.length > 0);
  byId('save').disabled = !done.length;
  legend();
}

function legend() {
  byId('legend').hidden = !kept.size || !byId('show-regions').checked;
}

for (const what of ['boxes', 'points', 'regions']) {
  const box = byId(`show-${what}`), apply = () => { document.body.classList.toggle(`no-${what}`, !box.checked); legend(); };
  box.addEventListener('change', apply);
  apply();
}
for (const task of of('Regions')) {
  byId('legend').append(...task.words.slice(1).map((word, at) => {
    const colour = make('i', {});
    colour.style.background = task.colours[at + 1];
    return make('li', {}, colour, spaced(word));
  }));
}

byId('choose').addEventListener('click', () => byId('files').click());
byId('files').addEventListener('change', event => {
  take(event.target.files);
  event.target.value = '';
});
byId('clear').addEventListener('click', () => {
  for (const entry of [...kept.values()]) leave(entry, false);
  byId('choose').focus();
});
byId('save').addEventListener('click', () => {
  const regions = of('Regions').map(task => task.name);
  const lines = [...kept.values()].flatMap(entry => entry.lines ?? []).map(line => JSON.stringify(line, (key, value) => regions.includes(key) ? undefined : value) + '\n');
  const url = URL.createObjectURL(new Blob(lines, {type: 'application/jsonl'}));
  make('a', {href: url, download: 'answers.jsonl'}).click();
  setTimeout(() => URL.revokeObjectURL(url));
});

// Two pictures

const slots = {};
for (const slot of document.querySelectorAll('.slot')) {
  const input = slot.querySelector('input'), name = slot.dataset.slot;
  slot.querySelector('.choose').addEventListener('click', () => input.click());
  slot.querySelector('.camera').addEventListener('click', () => look(file => put(name, file)));
  input.addEventListener('change', () => {
    if (input.files.length) put(name, input.files[0]);
    input.value = '';
  });
}

function put(name, file) {
  const slot = document.querySelector(`[data-slot=${name}]`);
  URL.revokeObjectURL(slots[name]?.url);
  const url = URL.createObjectURL(file), image = make('img', {src: url, alt: file.name});
  slots[name] = {file, url, image, slot};
  image.addEventListener('error', () => slot.querySelector('.shown').replaceChildren());
  slot.querySelector('.shown').replaceChildren(make('div', {className: 'photo'}, image));
  slot.querySelector('.found').textContent = file.name;
  if (slots.a && slots.b) compare(slots.a, slots.b);
}

async function compare(a, b) {
  const verdict = byId('verdict'), current = () => slots.a === a && slots.b === b;
  for (const side of [a, b]) {
    side.slot.querySelector('svg')?.remove();
    side.slot.querySelector('.photo')?.classList.add('waits');
  }
  verdict.replaceChildren(make('p', {className: 'quiet'}, 'Both are being looked at'));
  try {
    const said = await ask('/compare', {a: a.file, b: b.file});
    if (!current()) return;
    for (const [at, side] of [a, b].entries()) {
      const found = said.compared[at], {naturalWidth: width, naturalHeight: height} = side.image;
      if (width) side.image.after(overlay([found], [0, 0, width, height]));
      const which = found.faces === 1 ? 'its one face' : `the foremost of its ${found.faces} faces`;
      side.slot.querySelector('.found').textContent = `${side.file.name}: ${[which, ...found.notes].join(', ')}`;
    }
    verdict.replaceChildren(...inWords(said));
  } catch (error) {
    if (current()) verdict.replaceChildren(make('p', {className: 'refused'}, error.message));
  }
  for (const side of [a, b]) if (current()) side.slot.querySelector('.photo')?.classList.remove('waits');
}

function inWords(said) {
  const at = said.operating_point, low = Math.min(-0.6, said.cosine), place = cosine => `${100 * (cosine - low) / (1 - low)}%`;
  const scale = make('div', {className: 'lines', ariaHidden: 'true'}), zones = [['different', low, at.different], ['cannot tell', at.different, at.cosine], ['same', at.cosine, 1]];
  for (const [words, from, to] of zones) {
    const zone = make('span', {className: words === said.answer ? 'it' : ''}, words);
    zone.style.left = place(from);
    zone.style.width = `calc(${place(to)} - ${place(from)})`;
    scale.append(zone);
  }
  const needle = make('i', {});
  needle.style.left = place(said.cosine);
  scale.append(needle);
  const answer = {same: 'The same person', different: 'Different people', 'cannot tell': 'Cannot tell'}[said.answer];
  return [
    make('h2', {}, answer),
    make('p', {}, `${percent(said.probability)} likely to be one person, if ${percent(said.prior)} of all pairs asked about are.`),
    scale,
    make('p', {className: 'quiet'}, `Cosine ${number(said.cosine, 3)}. The same from ${number(at.cosine, 3)} on, which ${+(100 * at.far).toPrecision(2)} % of pairs of two people reach; ` +
      `different under ${number(at.different, 3)}, as ${+(100 * at.frr).toPrecision(2)} % of pairs of one person are.`),
  ];
}

// Dropping: on the whole page

let over = 0;
const carriesFiles = event => event.dataTransfer?.types.includes('Files');
addEventListener('dragenter', event => { if (carriesFiles(event)) document.body.classList.toggle('over', ++over > 0); });
addEventListener('dragleave', event => { if (carriesFiles(event)) document.body.classList.toggle('over', --over > 0); });
addEventListener('dragover', event => event.preventDefault());
addEventListener('drop', event => {
  event.preventDefault();
  over = 0;
  document.body.classList.remove('over');
  const files = [...event.dataTransfer.files];
  if (!files.length) return;
  if (!document.querySelector('[data-view=compare]:not([hidden])')) {
    location.hash = 'faces';
    return take(files);
  }
  const slot = event.target.closest?.('.slot')?.dataset.slot ?? (slots.a && !slots.b ? 'b' : 'a');
  put(slot, files[0]);
  if (files.length > 1) put(slot === 'a' ? 'b' : 'a', files[1]);
});

// The camera

const dialog = byId('look'), video = dialog.querySelector('video');
let taken = null, looks = 0;

function stop() {
  looks += 1;
  video.srcObject?.getTracks().forEach(track => track.stop());
  video.srcObject = null;
}

async function look(then) {
  stop();
  const mine = looks;  // permission may be given when the dialog is closed, or opened again for another picture
  taken = then;
  const words = dialog.querySelector('[role=status]');
  words.textContent = 'The picture stays on this machine.';
  byId('shoot').disabled = true;
  dialog.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'user', width: {ideal: 1920}, height: {ideal: 1080}}});
    if (mine !== looks) return stream.getTracks().forEach(track => track.stop());
    video.srcObject = stream;
    await video.play();
    if (mine !== looks) return;
    byId('shoot').disabled = false;
    byId('shoot').focus();
  } catch (error) {
    if (mine === looks) words.textContent = `No camera: ${error.message}`;
  }
}

dialog.addEventListener('close', () => dialog.open || stop());  // told a moment later, when it may be open again
byId('no-look').addEventListener('click', () => dialog.close());
byId('camera').addEventListener('click', () => look(file => take([file])));
byId('shoot').addEventListener('click', () => {
  const canvas = make('canvas', {width: video.videoWidth, height: video.videoHeight});
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob(blob => {
    const name = `camera-${new Date().toTimeString().slice(0, 8).replaceAll(':', '')}.jpg`;
    dialog.close();
    taken(new File([blob], name, {type: 'image/jpeg'}));
  }, 'image/jpeg', 0.95);
});
