// Reads the answer to an introspection query as every client does that is built from one, and prints the schema.
import { buildClientSchema, getIntrospectionQuery, printSchema, validateSchema } from "graphql";
import { readFileSync } from "node:fs";

if (process.argv[1] === "query") {
  process.stdout.write(getIntrospectionQuery({ specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true }));
} else {
  const answer = JSON.parse(readFileSync(0, "utf8"));
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  const schema = buildClientSchema(answer.data);
  const errors = validateSchema(schema);
  if (errors.length > 0) throw new Error(errors.join("\n"));
  process.stdout.write(printSchema(schema));
}
