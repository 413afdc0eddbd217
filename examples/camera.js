// Has the agent predict on files of raw bytes, keeps each with what was answered, and lists what is loaded.
//
//   npm install @grpc/grpc-js @grpc/proto-loader
//   cp "$(python3 -c 'import edgeward, os; print(os.path.dirname(edgeward.__file__))')/proto/edge_manager.proto" .
//   node camera.js agent.sock person.ewp frame1.raw frame2.raw
//
// A file has as many bytes as the model's input. Each gives one line: its name, the index of the greatest value of the first
// output, and that value. Node has no shared memory: tensors are in the message, up to the agent's limit (option -m).
"use strict";

const fs = require("fs");
const path = require("path");
const { randomUUID } = require("crypto");
const { setTimeout: pause } = require("timers/promises");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const PROTO = process.env.EDGE_MANAGER_PROTO || path.join(__dirname, "edge_manager.proto");
const ALIAS = "camera-js";

// keepCase: fields are called as in the definition. A name is bytes, and so a Buffer.
const definition = loader.loadSync(PROTO, { keepCase: true, enums: String, longs: String, defaults: true });
const edge = grpc.loadPackageDefinition(definition).AWS.SageMaker.Edge;

// Every call of the service, as a function that takes a request and promises the answer.
function agentAt(socket) {
  const client = new edge.Agent(`unix:${path.resolve(socket)}`, grpc.credentials.createInsecure());
  const agent = { close: () => client.close() };
  for (const name of Object.keys(edge.Agent.service)) {
    agent[name] = (request) =>
      new Promise((resolve, reject) => {
        client[name](request, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
  }
  return agent;
}

// A model that an earlier run of this program left loaded is as good as one that we load.
async function load(agent, url) {
  try {
    await agent.LoadModel({ url, name: ALIAS });
  } catch (error) {
    if (error.code !== grpc.status.ALREADY_EXISTS) throw error;
  }
  return (await agent.DescribeModel({ name: ALIAS })).model;
}

function best(tensor) {
  if (tensor.tensor_metadata.data_type !== "FLOAT32") throw new Error("output: expected FLOAT32");
  const { buffer, byteOffset, length } = Buffer.from(tensor.byte_data); // a copy, and so aligned
  const values = Array.from({ length: length / 4 }, (_, index) => new DataView(buffer, byteOffset).getFloat32(4 * index, true));
  const index = values.indexOf(Math.max(...values));
  return `${index} ${values[index]}`;
}

async function kept(agent, capture_id) {
  for (;;) {
    const { status } = await agent.GetCaptureDataStatus({ capture_id });
    if (status === "SUCCESS") return;
    if (status !== "IN_PROGRESS") throw new Error(`capture ${capture_id}: ${status}`);
    await pause(100);
  }
}

async function main([socket, url, ...files]) {
  const agent = agentAt(socket);
  try {
    const model = await load(agent, url);
    const captures = [];
    for (const file of files) {
      const frame = { tensor_metadata: model.input_tensor_metadatas[0], byte_data: fs.readFileSync(file) };
      const { tensors } = await agent.Predict({ name: ALIAS, tensors: [frame] });
      console.log(`${path.basename(file)} ${best(tensors[0])}`);
      captures.push(randomUUID());
      await agent.CaptureData({
        model_name: ALIAS,
        capture_id: captures[captures.length - 1],
        input_tensors: [frame],
        output_tensors: tensors, // an answer's tensors are a capture's as they are
        inputs: [{ name: path.basename(file), encoding: "JSON", byte_data: Buffer.from(JSON.stringify({ file })) }],
      });
    }
    for (const capture_id of captures) await kept(agent, capture_id);
    const { models } = await agent.ListModels({});
    console.log(`loaded: ${models.map((loaded) => loaded.name).sort().join(", ")}`);
    await agent.UnLoadModel({ name: ALIAS });
  } finally {
    agent.close();
  }
}

if (process.argv.length < 4) {
  console.error("usage: node camera.js SOCKET PACKAGE [FILE ...]");
  process.exitCode = 2;
} else {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.message); // of gRPC: `5 NOT_FOUND: alias "...": ...`
    process.exitCode = 1;
  });
}
