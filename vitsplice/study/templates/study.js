"use strict";
{
  const LEAST_MS = 250; // a trial cannot be answered sooner: a second click that was meant for the one before
  const byId = (id) => document.getElementById(id);
  const study = JSON.parse(atob(byId("key").textContent));
  const images = JSON.parse(byId("images").textContent);
  const pairs = new Map(study.pairs.map((pair) => [pair.id, pair]));

  // --- Chance: the same for the same text, in every browser -----------------------------------------------------

  const mixed = (word) => {
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    return (word ^ (word >>> 16)) >>> 0;
  };

  /** A function that gives numbers in [0, 1): a Weyl sequence through murmur3's finaliser, begun by FNV-1a of the text. */
  function chance(text) {
    let state = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193);
    return () => mixed((state = (state + 0x9e3779b9) | 0)) / 2 ** 32;
  }

  function shuffled(list, random) {
    const made = [...list];
    for (let last = made.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [made[last], made[other]] = [made[other], made[last]];
    }
    return made;
  }

  // --- What a rater is shown ------------------------------------------------------------------------------------

  /** Comparisons, as many of every pair as of every other and of every two methods as of every other (or one more). */
  function comparisons(random) {
    const twos = study.methods.flatMap((_, first) => study.methods.slice(first + 1).map((_, by) => [first, first + 1 + by]));
    const rows = shuffled(study.pairs, random);
    const columns = shuffled(twos, random);
    const gcd = (a, b) => (b ? gcd(b, a % b) : a);
    const lap = (rows.length * columns.length) / gcd(rows.length, columns.length);
    // Along the diagonal of the table of pairs by two methods; one column further after each lap.
    return Array.from({ length: study.trials }, (_, step) => {
      const column = (step + Math.floor(step / lap)) % columns.length;
      return { pair: rows[step % rows.length], column, two: columns[column] };
    });
  }

  /** Sides take turns: through the comparisons of the first two methods, then of the next, ... */
  function sided(list, random) {
    let turned = random() < 0.5;
    return shuffled(list, random)
      .sort((one, other) => one.column - other.column)
      .map(({ pair, two }) => {
        turned = !turned;
        const [left, right] = turned ? [two[1], two[0]] : two;
        return {
          pair, check: false, right_answer: null,
          left: { method: study.methods[left], image: pair.outputs[left] },
          right: { method: study.methods[right], image: pair.outputs[right] },
        };
      });
  }

  function checks(random) {
    let turned = random() < 0.5;
    return shuffled(study.checks, random).map((check) => {
      turned = !turned;
      const pair = pairs.get(check.pair);
      const right = { method: check.method, image: pair.outputs[study.methods.indexOf(check.method)] };
      const wrong = { method: null, image: check.wrong };
      const sides = turned ? { left: wrong, right } : { left: right, right: wrong };
      return { pair, check: true, right_answer: turned ? "right" : "left", ...sides };
    });
  }

  /** All trials of a rater, in order; one check in each of equal parts. `vitsplice/study/order.py` computes the same. */
  function plan(rater) {
    const random = chance(`${study.study}/${rater}`);
    const trials = shuffled(sided(comparisons(random), random), random);
    const known = checks(random);
    const part = trials.length / Math.max(known.length, 1);
    known.forEach((check, number) => {
      const place = Math.max(1, Math.floor((number + random()) * part));
      trials.splice(Math.min(place + number, trials.length), 0, check);
    });
    return trials;
  }

  // --- What is kept ---------------------------------------------------------------------------------------------

  const place = (rater) => `vitsplice study ${study.study} ${rater}`;

  function load(rater, length) {
    try {
      const found = JSON.parse(localStorage.getItem(place(rater)));
      const sound = found && typeof found.began === "string" && Array.isArray(found.answers) && found.answers.length <= length
        && found.answers.every((a) => ["left", "right"].includes(a.choice) && Number.isFinite(a.milliseconds));
      return sound ? found : null;
    } catch {
      return null;
    }
  }

  function save() {
    try {
      localStorage.setItem(place(state.rater), JSON.stringify({ began: state.began, finished: state.finished, answers: state.answers }));
    } catch {
      tell("This browser keeps nothing for this page: it works, but cannot be continued after a reload or once it is closed.");
    }
  }

  /** The rater of this tab, for a reload. */
  function remember(rater) {
    try {
      sessionStorage.setItem(`vitsplice study ${study.study}`, rater);
    } catch {
      // told by save()
    }
  }

  function remembered() {
    try {
      return sessionStorage.getItem(`vitsplice study ${study.study}`) ?? "";
    } catch {
      return "";
    }
  }

  function tell(text) {
    byId("note").textContent = text;
    byId("note").hidden = false;
  }

  // --- Going through it -----------------------------------------------------------------------------------------

  const state = { rater: "", trials: [], answers: [], began: "", finished: null, shown: null, carried: 0, turn: 0 };

  function page(name) {
    for (const id of ["intro", "trial", "end"]) byId(id).hidden = id !== name;
  }

  const tidy = (rater) => [...rater.trim().replace(/\s+/g, " ")].slice(0, 80).join("");

  function introduce(rater) {
    page("intro");
    byId("rater").value = rater;
    byId("rater").focus();
  }

  function begin(rater) {
    remember(rater);
    state.rater = rater;
    state.trials = plan(rater);
    const kept = load(rater, state.trials.length);
    state.began = kept?.began ?? new Date().toISOString();
    state.finished = kept?.finished ?? null;
    state.answers = kept?.answers ?? [];
    state.carried = 0; // of a choice that another rater took back
    save();
    next();
  }

  async function next() {
    const turn = ++state.turn;
    state.shown = null;
    const trial = state.trials[state.answers.length];
    if (!trial) return end();
    page("trial");
    byId("progress").max = state.trials.length;
    byId("progress").value = state.answers.length;
    byId("position").textContent = `${state.answers.length + 1} of ${state.trials.length}`;
    byId("undo").disabled = !state.answers.length;
    byId("trial").classList.add("waiting");
    const shown = [
      [byId("structure"), trial.pair.structure], [byId("appearance"), trial.pair.appearance],
      [byId("left").firstElementChild, trial.left.image], [byId("right").firstElementChild, trial.right.image],
    ];
    await Promise.all(shown.map(([image, name]) => {
      image.src = images[name];
      return image.decode();
    }));
    if (turn !== state.turn) return; // the rater went elsewhere meanwhile
    byId("trial").classList.remove("waiting");
    state.shown = performance.now();
    const wait = Math.max(LEAST_MS, study.min_view_ms);
    for (const side of ["left", "right"]) byId(side).disabled = true;
    setTimeout(() => {
      if (turn === state.turn) for (const side of ["left", "right"]) byId(side).disabled = false;
    }, wait);
  }

  function answer(choice) {
    if (state.shown === null || byId(choice).disabled) return;
    state.answers.push({ choice, milliseconds: Math.round(state.carried + performance.now() - state.shown) });
    state.carried = 0;
    if (state.answers.length === state.trials.length) state.finished = new Date().toISOString();
    save();
    next();
  }

  function undo() {
    if (!state.answers.length) return;
    state.carried = state.answers.pop().milliseconds; // the time that a choice took is of all its looks
    state.finished = null;
    save();
    next();
  }

  // --- Results --------------------------------------------------------------------------------------------------

  function results() {
    const trials = state.answers.map(({ choice, milliseconds }, number) => {
      const { pair, left, right, check, right_answer } = state.trials[number];
      const passed = check ? choice === right_answer : null;
      return { pair: pair.id, set: pair.set, left: left.method, right: right.method, choice, milliseconds, check, passed };
    });
    const { study: id, schema, digest } = study;
    return {
      kind: "vitsplice study result", schema, study: id, plan: digest, rater: state.rater, began: state.began,
      finished: state.finished, trials, user_agent: navigator.userAgent,
      screen: { width: screen.width, height: screen.height, ratio: devicePixelRatio },
    };
  }

  function end() {
    page("end");
    const left = state.trials.length - state.answers.length;
    byId("verdict").textContent = left ? "Stopped" : "Done: thank you";
    byId("thanks").textContent = left
      ? `${left} choices are left. What you chose so far can be handed over, or go back and continue.`
      : "Please download the results and hand over the file.";
    byId("text").open = !left; // it names the methods, which who goes on should not see
    byId("results").value = JSON.stringify(results(), null, 1);
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
    byId("text").open = true;
    byId("results").select();
    try {
      await navigator.clipboard.writeText(byId("results").value);
      byId("copy").textContent = "Copied";
    } catch {
      tell("The text is selected: copy it with Ctrl+C or ⌘C.");
    }
  }

  // --- Wiring ---------------------------------------------------------------------------------------------------

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
    state.turn++;
    end();
  });
  byId("back").addEventListener("click", () => (state.answers.length < state.trials.length ? next() : undo()));
  byId("download").addEventListener("click", download);
  byId("copy").addEventListener("click", copy);
  byId("another").addEventListener("click", () => {
    remember("");
    introduce("");
  });
  byId("start").addEventListener("submit", (event) => {
    event.preventDefault();
    const rater = tidy(byId("rater").value);
    if (rater) begin(rater);
  });
  for (const element of document.querySelectorAll(".question")) element.textContent = study.question;
  byId("count").textContent = study.trials + study.checks.length;
  const given = tidy(new URLSearchParams(location.search).get("rater") ?? "");
  if (remembered() && (!given || given === remembered())) begin(remembered());
  else introduce(given);
}
