"use strict";
// The viewer of a page: NiiVue, with one scan at a time. Its volumes lie in the page, or beside it on the server.
(() => {
  const section = document.getElementById("viewer");
  const canvas = section.querySelector("canvas");
  const status = section.querySelector("[role=status]");
  const chosen = section.querySelector("[name=scan]");
  const layers = [...section.querySelectorAll("[data-layer]")].map((box) => box.dataset.layer);
  const style = getComputedStyle(document.documentElement);
  // From which value on a layer is seen, and from which at its strongest; the image's greys.
  const limits = { image: [0, 255], uncertainty: [0.05, 0.5] };
  let viewer = null;
  let ready = null;
  let asked = 0;

  const rgb = (name) => {
    const hex = style.getPropertyValue(`--${name}`).trim().slice(1);
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
  };

  // Of a map: from nothing to the layer's colour. Of a mask: a shade of it for each class, and nothing for none.
  const colours = (name) => {
    const [r, g, b] = rgb(name);
    if (name in limits) return { R: [0, r], G: [0, g], B: [0, b], A: [0, 255], I: [0, 255] };
    const [R, G, B] = [r, g, b].map((value) => [0, Math.round(value / 2), value]);
    return { R, G, B, A: [0, 255, 255], I: [0, 1, 255] };
  };

  const begin = async () => {
    viewer = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.85, 0.85, 0.85, 0.8],
      crosshairWidth: 0.3,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      show3Dcrosshair: true,
    });
    await viewer.attachToCanvas(canvas);
    for (const name of layers) viewer.addColormap(`duoseg-${name}`, colours(name));
  };

  const load = async (scan, name) => {
    const volume = await read(scan, name);
    if (!(name in limits)) volume.cal_max = Math.max(1, Number(section.dataset.shades)); // the last class's full colour
    return volume;
  };

  const read = async (scan, name) => {
    const [cal_min, cal_max] = limits[name] ?? [0, 1];
    const colormap = name === "image" ? "gray" : `duoseg-${name}`;
    const here = document.getElementById(`volume-${scan}-${name}`);
    if (here) {
      return niivue.NVImage.loadFromBase64({ base64: here.textContent, name: `${name}.nii.gz`, colormap, cal_min, cal_max });
    }
    const answer = await fetch(`volumes/${scan}/${name}.nii`);
    if (!answer.ok) throw new Error(await answer.text());
    const file = new File([await answer.arrayBuffer()], `${name}.nii`);
    return niivue.NVImage.loadFromFile({ file, name: file.name, colormap, cal_min, cal_max });
  };

  const shown = (name) => section.querySelector(`[data-layer=${name}]`).checked;

  const show = async (scan) => {
    const turn = ++asked;
    status.textContent = "Loading …";
    ready ??= begin();
    await ready;
    if (turn !== asked) return;
    const volumes = [];
    for (const name of ["image", ...layers]) {
      volumes.push(await load(scan, name));
      if (turn !== asked) return; // another scan was chosen in the meantime; its own call shows it
    }
    while (viewer.volumes.length) viewer.removeVolume(viewer.volumes[0]);
    for (const volume of volumes) viewer.addVolume(volume);
    for (const name of layers) layer(name);
    body();
    status.textContent = "";
    section.dataset.shown = scan;
  };

  const layer = (name) => {
    viewer.setOpacity(1 + layers.indexOf(name), shown(name) ? 0.5 : 0);
  };

  const body = () => {
    const alone = section.querySelector("[data-render]").checked;
    viewer.setSliceType(alone ? viewer.sliceTypeRender : viewer.sliceTypeMultiplanar);
    viewer.setOpacity(0, alone ? 0 : 1); // the scan around it would hide it
  };

  const fail = (fault) => {
    asked += 1;
    status.textContent = `The viewer cannot show this here: ${fault.message ?? fault}`;
  };

  section.querySelector("[data-open]").addEventListener("click", (event) => {
    event.currentTarget.hidden = true;
    section.classList.add("open");
    canvas.focus(); // the button that had it is gone
    show(chosen.value).catch(fail);
  });
  chosen.addEventListener("change", () => section.classList.contains("open") && show(chosen.value).catch(fail));
  for (const name of layers) {
    section.querySelector(`[data-layer=${name}]`).addEventListener("change", () => viewer && layer(name));
  }
  section.querySelector("[data-render]").addEventListener("change", () => viewer && body());
})();
