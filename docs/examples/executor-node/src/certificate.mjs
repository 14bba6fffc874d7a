// The certificate by which the host knows this start of the program again.
import "reflect-metadata"; // which @peculiar/x509 needs before it
import {KeyObject, webcrypto} from "node:crypto";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(webcrypto);

const algorithm = {name: "ECDSA", namedCurve: "P-521", hash: "SHA-512"};

// certificate makes one that signs itself, as go-plugin's host wants it: it is a
// root to itself, stands for "localhost", and serves both sides of a connection.
// Source: github.com/hashicorp/go-plugin, mtls.go.
export async function certificate() {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const now = Date.now();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString("hex").replace(/^/, "01"),
    name: "CN=localhost, O=berth-site",
    notBefore: new Date(now - 30_000),
    notAfter: new Date(now + 30 * 365 * 24 * 3600 * 1000), // as long as the process lives
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment | x509.KeyUsageFlags.keyAgreement | x509.KeyUsageFlags.keyCertSign,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([{type: "dns", value: "localhost"}]),
    ],
  });
  return {
    pem: cert.toString("pem"),
    key: KeyObject.from(keys.privateKey).export({type: "pkcs8", format: "pem"}),
    // Without "=" at the end: Go's base64.RawStdEncoding.
    base64: Buffer.from(cert.rawData).toString("base64").replace(/=+$/, ""),
  };
}
