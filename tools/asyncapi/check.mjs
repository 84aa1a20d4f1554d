// Parses an AsyncAPI document, holds each example in it against its schema, and says what is wrong:
// node check.mjs [file]. Ends with 1 on any error.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Parser } from '@asyncapi/parser';
import Ajv from 'ajv';

const severities = ['error', 'warning', 'information', 'hint'];
const file = process.argv[2] ?? fileURLToPath(new URL('../../docs/asyncapi.yaml', import.meta.url));

const { document, diagnostics } = await new Parser().parse(await readFile(file, 'utf8'), { source: file });
for (const { severity, range, path, message } of diagnostics) {
  console.error(`${file}:${range.start.line + 1}: ${severities[severity]}: ${path.join('.')}: ${message}`);
}
let wrong = !document || diagnostics.some(({ severity }) => severity === 0);

// The parser looks at the shape of examples only.
const ajv = new Ajv({ strict: false, validateFormats: false });
let examples = 0;
for (const message of document?.components().messages().all() ?? []) {
  const fits = ajv.compile(message.payload().json());
  for (const example of message.examples()) {
    examples++;
    if (!fits(example.payload())) {
      console.error(`${file}: error: example ${message.name()} ${example.name()}: ${ajv.errorsText(fits.errors)}`);
      wrong = true;
    }
  }
}

if (wrong) {
  process.exit(1);
}
console.log(`${file}: AsyncAPI ${document.version()}: ${document.channels().length} channels, ` +
  `${document.operations().length} operations, ${document.components().messages().length} messages, ${examples} examples`);
