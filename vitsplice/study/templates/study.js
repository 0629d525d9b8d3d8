"use strict";
{
  const DAY_MS = 86400000; // maximum time of a choice, as in study/results.py
  const MIN_RESPONSE_MS = 250; // a faster click was meant for the previous trial
  const byId = (id) => document.getElementById(id);
  const study = JSON.parse(atob(byId("plan").textContent));
  const images = JSON.parse(byId("images").textContent);
  const pairs = new Map(study.pairs.map((pair) => [pair.id, pair]));

  // --- Random numbers: the same for the same text in every browser ----------------------------------------------

  const murmurFinaliser = (word) => {
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    return (word ^ (word >>> 16)) >>> 0;
  };

  /** Return a generator of numbers in [0, 1): a Weyl sequence with MurmurHash3's finaliser, seeded by FNV-1a. */
  function randomNumbers(text) {
    let state = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193);
    return () => murmurFinaliser((state = (state + 0x9e3779b9) | 0)) / 2 ** 32;
  }

  function shuffle(items, random) {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [shuffled[last], shuffled[other]] = [shuffled[other], shuffled[last]];
    }
    return shuffled;
  }

  // --- Trials of a rater: `vitsplice/study/trial_order.py` computes the same -------------------------------------

  /** Draw comparisons so that the numbers of uses of pairs of images, and of pairs of methods, differ by at most 1. */
  function sampleComparisons(random) {
    const methodPairs = study.methods.flatMap((_, first) => study.methods.slice(first + 1).map((_, by) => [first, first + 1 + by]));
    const rows = shuffle(study.pairs, random);
    const columns = shuffle(methodPairs, random);
    const gcd = (a, b) => (b ? gcd(b, a % b) : a);
    const lap = (rows.length * columns.length) / gcd(rows.length, columns.length);
    // Along the diagonal of the table of all comparisons, one column further after each lap.
    return Array.from({ length: study.trials }, (_, step) => {
      const column = (step + Math.floor(step / lap)) % columns.length;
      return { pair: rows[step % rows.length], column, methods: columns[column] };
    });
  }

  /** Alternate the sides through all comparisons of one pair of methods, then of the next pair, and so on. */
  function assignSides(comparisons, random) {
    let swapped = random() < 0.5;
    return shuffle(comparisons, random)
      .sort((a, b) => a.column - b.column)
      .map(({ pair, methods }) => {
        swapped = !swapped;
        const [left, right] = swapped ? [methods[1], methods[0]] : methods;
        return {
          pair, check: false, answer: null,
          left: { method: study.methods[left], image: pair.outputs[left] },
          right: { method: study.methods[right], image: pair.outputs[right] },
        };
      });
  }

  function checkTrials(random) {
    let swapped = random() < 0.5;
    return shuffle(study.checks, random).map((check) => {
      swapped = !swapped;
      const pair = pairs.get(check.pair);
      const right = { method: check.method, image: pair.outputs[study.methods.indexOf(check.method)] };
      const wrong = { method: null, image: check.wrong };
      const sides = swapped ? { left: wrong, right } : { left: right, right: wrong };
      return { pair, check: true, answer: swapped ? "right" : "left", ...sides };
    });
  }

  /**
   * Return all trials of a rater in order. The comparisons are divided into as many equal parts as there are checks,
   * and one check is inserted at a random position of each part. The first trial is never a check.
   */
  function trialsOf(rater) {
    const random = randomNumbers(`${study.study}/${rater}`);
    const trials = shuffle(assignSides(sampleComparisons(random), random), random);
    const checks = checkTrials(random);
    const part = trials.length / Math.max(checks.length, 1);
    checks.forEach((check, number) => {
      const position = Math.max(1, Math.floor((number + random()) * part));
      trials.splice(Math.min(position + number, trials.length), 0, check);
    });
    return trials;
  }

  // --- Storage in the browser -------------------------------------------------------------------------------------

  const storageKey = (rater) => `vitsplice study ${study.study} ${rater}`;

  function load(rater, trials) {
    try {
      const stored = JSON.parse(localStorage.getItem(storageKey(rater)));
      const valid = stored && typeof stored.began === "string" && Array.isArray(stored.answers) && stored.answers.length <= trials
        && stored.answers.every((a) => ["left", "right"].includes(a.choice) && Number.isFinite(a.milliseconds))
        && (stored.viewed ?? []).every((time) => time === null || Number.isFinite(time));
      return valid ? stored : null;
    } catch {
      return null;
    }
  }

  function save() {
    try {
      const { began, finished, answers, viewed } = state;
      localStorage.setItem(storageKey(state.rater), JSON.stringify({ began, finished, answers, viewed }));
    } catch {
      showMessage("Your browser does not store data for this page. You can take part, but you cannot resume after a reload or after closing the page.");
    }
  }

  /** Store the rater in the history of this tab, so that a reload returns to them, even if localStorage is disabled. */
  function storeRater(rater) {
    history.replaceState({ study: study.study, rater }, "");
  }

  function storedRater() {
    return history.state?.study === study.study ? history.state.rater : "";
  }

  function showMessage(text) {
    byId("message").textContent = text;
    byId("message").hidden = false;
  }

  function hideMessage() {
    byId("message").hidden = true;
  }

  // --- Course of the study ----------------------------------------------------------------------------------------

  // viewed: time of all earlier displays, by trial; display: number of the current display of a trial
  const state = { rater: "", trials: [], answers: [], began: "", finished: null, shownAt: null, viewed: [], display: 0 };

  function showPage(name) {
    for (const id of ["intro", "trial", "end"]) byId(id).hidden = id !== name;
  }

  /** Return an id that study/results.py accepts; \s of Python has a few characters more. */
  function normalise(rater) {
    const spaced = rater.replace(/[\s\u0085\u001c-\u001f]+/gu, " ").trim();
    return [...spaced].slice(0, 80).join("").trim();
  }

  function showIntroduction(rater) {
    showPage("intro");
    byId("rater").value = rater;
    byId("rater").focus();
  }

  function start(rater) {
    storeRater(rater);
    state.rater = rater;
    state.trials = trialsOf(rater);
    const stored = load(rater, state.trials.length);
    state.began = stored?.began ?? new Date().toISOString();
    state.finished = stored?.finished ?? null;
    state.answers = stored?.answers ?? [];
    state.viewed = stored?.viewed ?? [];
    save();
    showNext();
  }

  async function showNext() {
    const display = ++state.display;
    state.shownAt = null;
    const trial = state.trials[state.answers.length];
    if (!trial) return showEnd();
    showPage("trial");
    byId("progress").max = state.trials.length;
    byId("progress").value = state.answers.length;
    byId("position").textContent = `${state.answers.length + 1} of ${state.trials.length}`;
    byId("undo").disabled = !state.answers.length;
    byId("trial").classList.add("waiting");
    const elements = [
      [byId("structure"), trial.pair.structure], [byId("appearance"), trial.pair.appearance],
      [byId("left").firstElementChild, trial.left.image], [byId("right").firstElementChild, trial.right.image],
    ];
    await Promise.all(elements.map(([element, name]) => {
      element.src = images[name];
      return element.decode();
    }));
    if (display !== state.display) return; // the rater has left this trial
    byId("trial").classList.remove("waiting");
    state.shownAt = performance.now();
    for (const side of ["left", "right"]) byId(side).disabled = true;
    setTimeout(() => {
      if (display === state.display) for (const side of ["left", "right"]) byId(side).disabled = false;
    }, Math.max(MIN_RESPONSE_MS, study.min_view_ms));
  }

  /** Add the time since the last call, or since the display of the current trial, to the times of its displays. */
  function addViewingTime() {
    if (state.shownAt === null) return;
    const number = state.answers.length;
    const now = performance.now();
    state.viewed[number] = Math.min(Math.round((state.viewed[number] ?? 0) + now - state.shownAt), DAY_MS);
    state.shownAt = now;
  }

  /** Store the viewing time of a trial that the rater leaves, unless another tab has stored other answers of the rater. */
  function saveViewingTime() {
    if (state.shownAt === null) return;
    addViewingTime();
    if (load(state.rater, state.trials.length)?.answers.length === state.answers.length) save();
  }

  function answer(choice) {
    if (state.shownAt === null || byId(choice).disabled) return;
    addViewingTime();
    state.answers.push({ choice, milliseconds: state.viewed[state.answers.length] });
    if (state.answers.length === state.trials.length) state.finished = new Date().toISOString();
    save();
    showNext();
  }

  function undo() {
    if (!state.answers.length) return;
    addViewingTime();
    const { milliseconds } = state.answers.pop();
    state.viewed[state.answers.length] = milliseconds; // the time of a choice includes those that were undone
    state.finished = null;
    save();
    showNext();
  }

  // --- Results ----------------------------------------------------------------------------------------------------

  function results() {
    const trials = state.answers.map(({ choice, milliseconds }, number) => {
      const { pair, left, right, check, answer } = state.trials[number];
      const passed = check ? choice === answer : null;
      return { pair: pair.id, set: pair.set, left: left.method, right: right.method, choice, milliseconds, check, passed };
    });
    const { study: id, schema, digest } = study;
    return {
      kind: "vitsplice study result", schema, study: id, plan: digest, rater: state.rater, began: state.began,
      finished: state.finished, trials, user_agent: navigator.userAgent,
      screen: { width: screen.width, height: screen.height, ratio: devicePixelRatio },
    };
  }

  function showEnd() {
    showPage("end");
    const left = state.trials.length - state.answers.length;
    byId("status").textContent = left ? "Stopped" : "Done. Thank you!";
    byId("instructions").textContent = left
      ? `You have not answered ${left} of ${state.trials.length} trials. You can hand in your answers so far, or go back and continue.`
      : "Please download the results and hand in the file.";
    byId("results-text").open = !left; // it names the methods, which a rater who continues must not see
    byId("results").value = JSON.stringify(results(), null, 1);
    byId("copy").textContent = "Copy results";
    byId("download").focus();
  }

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([byId("results").value], { type: "application/json" }));
    link.download = `study-${study.study}-${state.rater.replace(/[^\p{L}\p{N}._-]+/gu, "_")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(byId("results").value);
      byId("copy").textContent = "Copied";
      hideMessage();
    } catch {
      if (state.answers.length < state.trials.length) {
        showMessage("Your browser does not allow this page to copy. Download the results instead.");
        return;
      }
      byId("results-text").open = true;
      byId("results").select();
      showMessage("The text is selected. Copy it with Ctrl+C or ⌘C.");
    }
  }

  // --- Events -----------------------------------------------------------------------------------------------------

  const KEYS = { ArrowLeft: "left", f: "left", F: "left", ArrowRight: "right", j: "right", J: "right" };
  document.addEventListener("keydown", (event) => {
    if (byId("trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) answer(KEYS[event.key]);
    else if (event.key === "Backspace") undo();
    else return;
    event.preventDefault();
  });
  for (const side of ["left", "right"]) byId(side).addEventListener("click", () => answer(side));
  byId("undo").addEventListener("click", undo);
  byId("stop").addEventListener("click", () => {
    saveViewingTime();
    state.display++;
    state.shownAt = null;
    showEnd();
  });
  window.addEventListener("pagehide", saveViewingTime);
  window.addEventListener("pageshow", () => {
    if (state.shownAt !== null) state.shownAt = performance.now(); // not the time away, if the browser kept the page
  });
  byId("back").addEventListener("click", () => {
    hideMessage();
    if (state.answers.length < state.trials.length) showNext();
    else undo();
  });
  byId("download").addEventListener("click", download);
  byId("copy").addEventListener("click", copy);
  byId("another").addEventListener("click", () => {
    hideMessage();
    storeRater("");
    showIntroduction("");
  });
  byId("start").addEventListener("submit", (event) => {
    event.preventDefault();
    const rater = normalise(byId("rater").value);
    if (rater) start(rater);
  });
  for (const element of document.querySelectorAll(".question")) element.textContent = study.question;
  byId("count").textContent = study.trials + study.checks.length;
  const requested = normalise(new URLSearchParams(location.search).get("rater") ?? "");
  if (storedRater()) start(storedRater());
  else showIntroduction(requested);
}
