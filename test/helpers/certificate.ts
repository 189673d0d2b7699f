import { type KeyObject, sign } from "node:crypto";

/*
 * A self-signed X.509 certificate, written byte by byte (DER): Node makes keys but no certificates, and `openssl` is not
 * on every machine.
 */

const SHA256_WITH_RSA = sequence(objectId([1, 2, 840, 113_549, 1, 1, 11]), tagged(0x05));

/** PEM of a certificate for these host names, good from 2020 to 2119. */
export function createCertificate(keys: { publicKey: KeyObject; privateKey: KeyObject }, names: string[]): string {
  const name = sequence(
    tagged(0x31, sequence(objectId([2, 5, 4, 3]), tagged(0x0c, Buffer.from(names[0] ?? "nobody")))),
  );
  const alternatives = sequence(...names.map((each) => tagged(0x82, Buffer.from(each))));
  const content = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))), // version 3
    tagged(0x02, Buffer.from([1])), // serial number
    SHA256_WITH_RSA,
    name,
    sequence(tagged(0x18, Buffer.from("20200101000000Z")), tagged(0x18, Buffer.from("21190101000000Z"))),
    name,
    keys.publicKey.export({ type: "spki", format: "der" }),
    tagged(0xa3, sequence(sequence(objectId([2, 5, 29, 17]), tagged(0x04, alternatives)))),
  );
  const signature = sign("sha256", content, keys.privateKey);
  const der = sequence(content, SHA256_WITH_RSA, tagged(0x03, Buffer.from([0]), signature));
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, ...parts);
}

function tagged(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function objectId([first = 0, second = 0, ...rest]: number[]): Buffer {
  const toBase128 = (value: number): number[] => {
    const digits = [value & 0x7f];
    for (let left = value >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  };
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(toBase128)]));
}
