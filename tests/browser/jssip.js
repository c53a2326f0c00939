// A phone by JsSIP. Its commands and events are those of sipjs.js.

import JsSIP from "jssip";
import { AUDIO, PEER_CONNECTION, happen, next, watch } from "./events.js";

const MEDIA = { mediaConstraints: AUDIO, pcConfig: PEER_CONNECTION };
let ua;
let session;

function attend({ session: begun, originator, request }) {
  session = begun;
  session.on("peerconnection", ({ peerconnection }) => watch(peerconnection));
  if (session.connection) watch(session.connection);
  session.on("progress", ({ response }) => response && happen("progress", response.status_code));
  session.on("confirmed", () => happen("answered"));
  session.on("ended", () => happen("ended"));
  session.on("failed", ({ message }) => happen("failed", message?.status_code ?? 0));
  if (originator === "remote") happen("call", request.from.uri.toString());
}

window.phone = {
  next,

  start({ server, uri, password }) {
    ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(server)],
      uri,
      password,
      register: false,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 2,
    });
    ua.on("connected", () => happen("connected"));
    ua.on("disconnected", ({ code }) => happen("disconnected", code ?? 0));
    ua.on("registered", () => happen("registered"));
    ua.on("unregistered", () => happen("unregistered"));
    ua.on("registrationFailed", ({ response }) => happen("refused", response?.status_code ?? 0));
    ua.on("newMessage", ({ originator, request }) => originator === "remote" && happen("message", request.body));
    ua.on("newRTCSession", attend);
    ua.start();
  },

  register: () => ua.register(),
  unregister: () => ua.unregister(),

  message(target, text) {
    const delivered = ({ response }) => happen("delivered", response?.status_code ?? 0);
    ua.sendMessage(target, text, { eventHandlers: { succeeded: delivered, failed: delivered } });
  },

  call: (target) => void ua.call(target, MEDIA),
  answer: () => session.answer(MEDIA),
  decline: () => session.terminate({ status_code: 486 }),
  hangUp: () => session.terminate(),

  hold: () => session.hold({}, () => happen("held")),
  resume: () => session.unhold({}, () => happen("resumed")),
  digit: (digit) => session.sendDTMF(digit),
  transfer(target) {
    session.refer(target, {
      eventHandlers: {
        requestSucceeded: ({ response }) => happen("transferring", response.status_code),
        accepted: () => happen("transferred"),
      },
    });
  },

  stop: () => ua.stop(),
};
