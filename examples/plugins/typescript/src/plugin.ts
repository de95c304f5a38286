// A sign-up, as a web shop's account service writes it, becomes an XDM Individual Profile.
//
// The Rust twin in `examples/plugins/rust` gives the same outcomes, byte for byte.

/** What `wit/plugin.wit` calls these; a WIT `option` is `undefined` here where it is none. */
type Payload = { tag: "text"; val: string } | { tag: "bytes"; val: Uint8Array };
interface Header {
  key: string;
  value?: Uint8Array | null;
}
interface SourceRecord {
  key?: Payload | null;
  payload?: Payload | null;
  headers: Header[];
}
interface Rejection {
  code: string;
  message: string;
  path?: string;
}
type Outcome =
  | { tag: "emit"; val: { body: string }[] }
  | { tag: "filter"; val: string }
  | { tag: "reject"; val: Rejection };

/** Thrown for a record that cannot be mapped. */
class Rejected extends Error {
  constructor(readonly rejection: Rejection) {
    super(rejection.message);
  }
}

let keyNamespace = "CRMID";

export const transformer = {
  /** An exception is the `err` of WIT's `result`; componentize-qjs wants its text as `payload`. */
  init(configuration: string): void {
    const refusal = readConfiguration(JSON.parse(configuration));
    if (refusal !== undefined) {
      throw Object.assign(new Error(refusal), { payload: refusal });
    }
  },

  transform(_source: unknown, records: SourceRecord[]): Outcome[] {
    return records.map((record) => {
      try {
        return outcome(record);
      } catch (thrown) {
        if (thrown instanceof Rejected) {
          return { tag: "reject", val: thrown.rejection };
        }
        throw thrown;
      }
    });
  },
};

/** Takes the settings; gives a sentence where they are refused. */
function readConfiguration(configuration: unknown): string | undefined {
  const settings = isObject(configuration) ? configuration : {};
  const namespace = settings.keyNamespace ?? "CRMID";
  if (typeof namespace !== "string" || namespace === "" || namespace === "Email") {
    return "`keyNamespace` must be the name of an identity namespace other than `Email`";
  }
  keyNamespace = namespace;
  return undefined;
}

function outcome(record: SourceRecord): Outcome {
  if (record.payload == null) {
    return { tag: "filter", val: "tombstone" };
  }
  const signUp = parse(text(record.payload, "the payload"));
  const email = field(signUp, "email");
  if (email === undefined) {
    throw rejected("no-email", "the sign-up has no `email`", "/email");
  }
  const body = JSON.stringify({
    identityMap: identityMap(email, record.key),
    person: nonEmpty({
      name: nonEmpty({
        firstName: field(signUp, "firstName"),
        lastName: field(signUp, "lastName"),
      }),
    }),
    personalEmail: { address: email },
    homeAddress: nonEmpty({ countryCode: field(signUp, "country") }),
    consents: consents(signUp, record.headers),
  });
  return { tag: "emit", val: [{ body }] };
}

function identityMap(email: string, key: Payload | null | undefined) {
  const identities: [string, unknown][] = [["Email", [{ id: email, primary: true }]]];
  if (key != null) {
    identities.push([keyNamespace, [{ id: text(key, "the key") }]]);
  }
  identities.sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(identities);
}

/** Whether the newsletter was ordered, when, and through which campaign. */
function consents(signUp: Record<string, unknown>, headers: Header[]) {
  const newsletter = signUp.newsletter ?? undefined;
  if (newsletter === undefined) {
    return undefined;
  }
  if (typeof newsletter !== "boolean") {
    throw rejected("bad-field", "`newsletter` is neither true nor false", "/newsletter");
  }
  const campaign = headers.find((header) => header.key === "campaign")?.value;
  const email = {
    val: newsletter ? "y" : "n",
    time: field(signUp, "signedUpAt"),
    reason: campaign == null ? undefined : utf8(campaign, "the header `campaign`"),
  };
  return { marketing: { email } };
}

function parse(json: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    value = undefined;
  }
  if (!isObject(value)) {
    throw rejected("not-json", "the payload is not a JSON object");
  }
  return value;
}

/** A text of the sign-up; undefined where it is absent or null. */
function field(signUp: Record<string, unknown>, name: string): string | undefined {
  const value = signUp[name] ?? undefined;
  if (value !== undefined && typeof value !== "string") {
    throw rejected("bad-field", `\`${name}\` is not text`, `/${name}`);
  }
  return value;
}

function text(payload: Payload, what: string): string {
  return payload.tag === "text" ? payload.val : utf8(payload.val, what);
}

/** QuickJS has no TextDecoder; this one refuses what the standard's `fatal` mode refuses. */
function utf8(bytes: Uint8Array, what: string): string {
  const malformed = () => rejected("not-utf8", `${what} is not UTF-8`);
  const characters: string[] = [];
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at++];
    if (first < 0x80) {
      characters.push(String.fromCharCode(first));
      continue;
    }
    if (first < 0xc2 || first > 0xf4) {
      throw malformed();
    }
    const more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    let point = first & (0x3f >> more);
    for (let left = more; left > 0; left--) {
      const next = bytes[at++];
      if (next === undefined || (next & 0xc0) !== 0x80) {
        throw malformed();
      }
      point = (point << 6) | (next & 0x3f);
    }
    const smallest = [0x80, 0x800, 0x10000][more - 1];
    if (point < smallest || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
      throw malformed();
    }
    characters.push(String.fromCodePoint(point));
  }
  return characters.join("");
}

function rejected(code: string, message: string, path?: string): Rejected {
  return new Rejected({ code, message, path });
}

/** The object, or undefined where all its fields are: no empty objects in the event. */
function nonEmpty<T extends object>(value: T): T | undefined {
  return Object.values(value).some((field) => field !== undefined) ? value : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
