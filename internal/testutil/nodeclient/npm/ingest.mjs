// Does the task on standard input with the official client and writes the
// reports it read to standard output, as JSON.
import "./loopback.mjs";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { KustoConnectionStringBuilder } from "azure-kusto-data";
import { BlobDescriptor, IngestClient, IngestStatusQueues, IngestionProperties, ReportLevel, ReportMethod, StreamDescriptor, StreamingIngestClient } from "azure-kusto-ingest";

const task = JSON.parse(await text(process.stdin));
const client = new IngestClient(
  KustoConnectionStringBuilder.withTokenProvider(task.endpoint, async () => task.token),
  new IngestionProperties({ database: task.database }),
);
const streaming = new StreamingIngestClient(
  KustoConnectionStringBuilder.withTokenProvider(task.endpoint, async () => task.token),
  new IngestionProperties({ database: task.database }),
);

let queued = 0;
for (const item of task.items) {
  const props = new IngestionProperties({
    database: task.database,
    table: item.table,
    format: item.format,
    flushImmediately: true,
    reportLevel: ReportLevel.FailuresAndSuccesses,
    reportMethod: ReportMethod.Queue,
    ...(item.mapping ? { ingestionMappingReference: item.mapping } : {}),
  });
  if (item.streaming) {
    await streaming.ingestFromStream(new StreamDescriptor(Readable.from([Buffer.from(item.data)])), props);
    continue;
  }
  queued++;
  if (item.blob) {
    await client.ingestFromBlob(new BlobDescriptor(item.blob), props);
  } else if (item.file) {
    await client.ingestFromFile(item.file, props);
  } else {
    await client.ingestFromStream(new StreamDescriptor(Readable.from([Buffer.from(item.data)])), props);
  }
}

const queues = new IngestStatusQueues(client);
const reports = [];
while (reports.length < queued) {
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
process.stdout.write(JSON.stringify(reports));
client.close();
streaming.close();
