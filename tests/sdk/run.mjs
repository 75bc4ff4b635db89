// Runs scenarios of the SDK at the same time, each over each transport, and tells one line about each:
//   node run.mjs PORT MODULE…
import { TRANSPORTS, Scene, hangUp, tell } from './support.mjs';

process.on('unhandledRejection', (error) => tell({ fault: String(error?.stack ?? JSON.stringify(error)) }));

const [port, ...modules] = process.argv.slice(2);

async function play(name, scenario, transport) {
  const scene = new Scene(name, transport, Number(port));
  let error = '';
  try {
    await scenario(scene);
  } catch (caught) {
    error = caught instanceof Error ? caught.stack : JSON.stringify(caught);
  }
  scene.end();
  tell({ scenario: name, transport, error });
}

const running = [];
for (const one of modules) {
  for (const [name, scenario] of Object.entries(await import(`./${one}.mjs`))) {
    for (const transport of TRANSPORTS) running.push(play(name, scenario, transport));
  }
}
await Promise.all(running);
hangUp();
