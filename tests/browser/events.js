// What happens in a page, kept until the test asks for it.

const events = [];
const waiting = [];

export function happen(name, detail = null) {
  events.push({ name, detail });
  for (const take of waiting.splice(0)) take();
}

// The detail of the first event of that name which has not been asked for, as soon as there is one.
export function next(name) {
  return new Promise((resolve) => {
    const take = () => {
      const at = events.findIndex((event) => event.name === name);
      if (at < 0) waiting.push(take);
      else resolve(events.splice(at, 1)[0].detail);
    };
    take();
  });
}

export const AUDIO = { audio: true, video: false };
export const PEER_CONNECTION = { iceServers: [] };

// The state of the session's media, as soon as it is connected or has failed.
export function watch(connection) {
  const look = () => {
    if (["connected", "failed"].includes(connection.connectionState)) happen("media", connection.connectionState);
  };
  connection.addEventListener("connectionstatechange", look);
  look();
}
