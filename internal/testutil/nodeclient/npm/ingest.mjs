// Does the task on standard input with the official client and writes what it
// learned to standard output, as JSON: an outcome for each item, and the reports
// that it read from the report queues.
import "./loopback.mjs";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { KustoConnectionStringBuilder } from "azure-kusto-data";
import {
  BlobDescriptor, IngestClient, IngestStatusQueues, IngestionProperties, ManagedStreamingIngestClient, ReportLevel, ReportMethod, StreamDescriptor,
  StreamingIngestClient,
} from "azure-kusto-ingest";

const task = JSON.parse(await text(process.stdin));
const connection = (url) => KustoConnectionStringBuilder.withTokenProvider(url, async () => task.token);
const defaults = new IngestionProperties({ database: task.database });
const dm = task.endpoint;
const engine = task.engine || dm;
const clients = {
  queued: new IngestClient(connection(dm), defaults),
  streaming: new StreamingIngestClient(connection(engine), defaults),
  managed: new ManagedStreamingIngestClient(connection(engine), connection(dm), defaults),
};

async function ingest(item) {
  const client = clients[item.way || "queued"];
  const props = new IngestionProperties({
    database: task.database,
    table: item.table,
    format: item.format,
    flushImmediately: true,
    reportLevel: ReportLevel.FailuresAndSuccesses,
    reportMethod: item.inTable ? ReportMethod.Table : ReportMethod.Queue,
    ...(item.mapping ? { ingestionMappingReference: item.mapping } : {}),
  });
  if (item.blob) return client.ingestFromBlob(new BlobDescriptor(item.blob), props);
  if (item.file) return client.ingestFromFile(item.file, props);
  return client.ingestFromStream(new StreamDescriptor(Readable.from([Buffer.from(item.data)])), props);
}

// outcome is what the client says of an item. In the status table the last word
// is waited for; what goes into a report queue is read below.
async function outcome(item) {
  try {
    const result = await ingest(item);
    if (!item.inTable) return { Status: (await result?.getIngestionStatusCollection?.())?.Status ?? "Succeeded" };
    for (;;) {
      const row = await result.getIngestionStatusCollection();
      if (row.Status !== "Pending") return { Status: row.Status, ErrorCode: row.ErrorCode, FailureStatus: row.FailureStatus };
      await pause(50); // the table has nothing to wait on
    }
  } catch (err) {
    return { Error: String(err) };
  }
}

// The client takes seconds to put a row into the status table, so those items
// are under way at once.
const inTable = task.items.map((item) => (item.inTable ? outcome(item) : null));
const outcomes = [];
for (const [i, item] of task.items.entries()) outcomes.push(await (inTable[i] ?? outcome(item)));

const awaited = outcomes.filter((o, i) => o.Status === "Queued" && !task.items[i].inTable).length;
const queues = new IngestStatusQueues(clients.queued);
const reports = [];
while (reports.length < awaited) {
  const before = reports.length;
  for (const name of ["success", "failure"]) {
    for (const m of await queues[name].pop(1)) {
      reports.push({
        Queue: name, Database: m.Database, Table: m.Table, SourceID: m.IngestionSourceId,
        Path: m.IngestionSourcePath, ErrorCode: m.ErrorCode, FailureStatus: m.FailureStatus,
      });
    }
  }
  if (reports.length === before) await pause(50); // the queues have nothing to wait on
}
process.stdout.write(JSON.stringify({ Outcomes: outcomes, Reports: reports }));
for (const client of Object.values(clients)) client.close();
