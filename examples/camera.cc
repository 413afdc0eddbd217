// A camera program: has the agent predict on every frame, and keeps each tenth with what was answered.
//
//   proto=$(python3 -c 'import edgeward, os; print(os.path.dirname(edgeward.__file__) + "/proto")')
//   protoc -I "$proto" --cpp_out=. --grpc_out=. --plugin=protoc-gen-grpc="$(which grpc_cpp_plugin)" edge_manager.proto
//   g++ -std=c++20 -I. *.cc $(pkg-config --cflags --libs grpc++ protobuf) -o camera
//   ffmpeg -i /dev/video0 -vf scale=224:224 -pix_fmt rgb24 -f rawvideo - | ./camera agent.sock person.ewp
//
// Debian: apt install g++ pkg-config libgrpc++-dev protobuf-compiler-grpc. A frame is as many bytes of standard input
// as the model's input has. Frames go by a POSIX segment; a third argument "system-v" or "inline" sends them the other
// ways. Each frame gives one line: its number, the index of the greatest value of the first output, and that value.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "edge_manager.grpc.pb.h"

namespace edge = AWS::SageMaker::Edge;

constexpr char kAlias[] = "camera";
constexpr int kCapturedEvery = 10;
// 0404, not 0400: an agent with a user of its own reads the frame too. Nobody may write it during a call.
constexpr mode_t kReadable = 0404, kWritable = 0600;

int checked(int result, const char* what) {
  if (result == -1) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

void require(const grpc::Status& status, const char* call) {
  if (!status.ok()) throw std::runtime_error(std::string(call) + ": " + status.error_message());
}

// Where frames lie for the agent to read: written once by us, and copied once by the agent.
class Segment {
 public:
  virtual ~Segment() = default;
  // From here on we write and the agent refuses to read, or the other way round.
  virtual void set_mode(mode_t mode) = 0;

  char* data = nullptr;
  uint64_t id = 0;
};

class PosixSegment : public Segment {
 public:
  explicit PosixSegment(size_t size_bytes) : size_bytes_(size_bytes) {
    std::random_device random;
    id = (uint64_t{1} << 32) + (uint64_t{random()} << 16);  // the agent's rule: 2^32 or more
    name_ = "/edgeward." + std::to_string(id);
    number_ = checked(shm_open(name_.c_str(), O_RDWR | O_CREAT | O_EXCL, kWritable), "shm_open");
    checked(ftruncate(number_, static_cast<off_t>(size_bytes)), "ftruncate");
    void* memory = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, number_, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    data = static_cast<char*>(memory);
  }
  ~PosixSegment() override {
    munmap(data, size_bytes_);
    close(number_);
    shm_unlink(name_.c_str());
  }
  void set_mode(mode_t mode) override { checked(fchmod(number_, mode), "fchmod"); }

 private:
  size_t size_bytes_;
  std::string name_;
  int number_;
};

class SystemVSegment : public Segment {
 public:
  explicit SystemVSegment(size_t size_bytes) {
    number_ = checked(shmget(IPC_PRIVATE, size_bytes, IPC_CREAT | kWritable), "shmget");
    id = static_cast<uint64_t>(number_);
    void* memory = shmat(number_, nullptr, 0);
    if (memory == reinterpret_cast<void*>(-1)) throw std::system_error(errno, std::generic_category(), "shmat");
    data = static_cast<char*>(memory);
  }
  ~SystemVSegment() override {
    shmdt(data);
    shmctl(number_, IPC_RMID, nullptr);
  }
  void set_mode(mode_t mode) override {
    shmid_ds facts;
    checked(shmctl(number_, IPC_STAT, &facts), "shmctl");
    facts.shm_perm.mode = static_cast<decltype(facts.shm_perm.mode)>(mode);
    checked(shmctl(number_, IPC_SET, &facts), "shmctl");
  }

 private:
  int number_;
};

class Camera {
 public:
  Camera(const std::string& socket, const std::string& package)
      : agent_(edge::Agent::NewStub(grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()))) {
    edge::LoadModelRequest request;
    request.set_url(package);
    request.set_name(kAlias);
    edge::LoadModelResponse response;
    grpc::ClientContext context;
    const grpc::Status status = agent_->LoadModel(&context, request, &response);
    // Loaded by an earlier run of this program, or by somebody for us: it stays loaded when we end.
    if (status.error_code() != grpc::StatusCode::ALREADY_EXISTS) require(status, "LoadModel");
    edge::DescribeModelRequest question;
    question.set_name(kAlias);
    edge::DescribeModelResponse answer;
    grpc::ClientContext second;
    require(agent_->DescribeModel(&second, question, &answer), "DescribeModel");
    if (answer.model().input_tensor_metadatas_size() != 1) throw std::runtime_error("model: expected one input");
    input_ = answer.model().input_tensor_metadatas(0);
  }

  size_t frame_bytes() const {
    size_t count = 1;
    for (int size : input_.shape()) {
      if (size < 0) throw std::runtime_error("model: expected an input of a fixed shape");
      count *= static_cast<size_t>(size);
    }
    switch (input_.data_type()) {
      case edge::UINT8:
      case edge::INT8: return count;
      case edge::FLOAT32: return 4 * count;
      default: throw std::runtime_error("model: expected an input of uint8, int8 or float32");
    }
  }

  edge::Tensor frame_in(const Segment& segment) const {
    edge::Tensor frame;
    *frame.mutable_tensor_metadata() = input_;
    frame.mutable_shared_memory_handle()->set_segment_id(segment.id);
    return frame;
  }

  edge::Tensor frame_of(const std::string& bytes) const {
    edge::Tensor frame;
    *frame.mutable_tensor_metadata() = input_;
    frame.set_byte_data(bytes);
    return frame;
  }

  edge::Tensor predict(const edge::Tensor& frame) {
    edge::PredictRequest request;
    request.set_name(kAlias);
    *request.add_tensors() = frame;
    edge::PredictResponse response;
    grpc::ClientContext context;
    require(agent_->Predict(&context, request, &response), "Predict");
    return response.tensors(0);
  }

  // Returns when the agent has a copy; `is_kept` says later whether it is on the disk.
  void capture(const std::string& id, const edge::Tensor& frame, const edge::Tensor& output) {
    edge::CaptureDataRequest request;
    request.set_model_name(kAlias);
    request.set_capture_id(id);
    *request.add_input_tensors() = frame;
    *request.add_output_tensors() = output;
    edge::CaptureDataResponse response;
    grpc::ClientContext context;
    require(agent_->CaptureData(&context, request, &response), "CaptureData");
  }

  bool is_kept(const std::string& id) {
    edge::GetCaptureDataStatusRequest request;
    request.set_capture_id(id);
    edge::GetCaptureDataStatusResponse response;
    grpc::ClientContext context;
    require(agent_->GetCaptureDataStatus(&context, request, &response), "GetCaptureDataStatus");
    if (response.status() == edge::FAILURE) throw std::runtime_error("capture " + id + ": could not be written");
    return response.status() == edge::SUCCESS;
  }

 private:
  std::unique_ptr<edge::Agent::Stub> agent_;
  edge::TensorMetadata input_;
};

std::unique_ptr<Segment> segment_of(const std::string& way, size_t size_bytes) {
  if (way == "posix") return std::make_unique<PosixSegment>(size_bytes);
  if (way == "system-v") return std::make_unique<SystemVSegment>(size_bytes);
  if (way == "inline") return nullptr;
  throw std::runtime_error("expected posix, system-v or inline, got " + way);
}

std::vector<float> floats_of(const edge::Tensor& output) {
  if (output.tensor_metadata().data_type() != edge::FLOAT32) throw std::runtime_error("output: expected float32");
  std::vector<float> values(output.byte_data().size() / sizeof(float));
  std::memcpy(values.data(), output.byte_data().data(), values.size() * sizeof(float));
  return values;
}

void show(int number, const edge::Tensor& output) {
  const std::vector<float> values = floats_of(output);
  if (values.empty()) throw std::runtime_error("output: expected a value, got none");
  const auto best = std::max_element(values.begin(), values.end());
  std::cout << number << ' ' << best - values.begin() << ' ' << *best << std::endl;
}

std::string unique_name() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random());
}

void run(const std::string& socket, const std::string& package, const std::string& way) {
  Camera camera(socket, package);
  const size_t frame_bytes = camera.frame_bytes();
  const std::unique_ptr<Segment> segment = segment_of(way, frame_bytes);
  std::string bytes(segment ? 0 : frame_bytes, '\0');
  const std::string run = unique_name();
  std::vector<std::string> captures;
  for (int number = 0;; ++number) {
    if (segment) segment->set_mode(kWritable);
    std::cin.read(segment ? segment->data : bytes.data(), static_cast<std::streamsize>(frame_bytes));
    if (!std::cin) break;  // the end, perhaps within a frame
    if (segment) segment->set_mode(kReadable);
    const edge::Tensor frame = segment ? camera.frame_in(*segment) : camera.frame_of(bytes);
    const edge::Tensor output = camera.predict(frame);
    show(number, output);
    if (number % kCapturedEvery == 0) {
      captures.push_back(run + "-" + std::to_string(number));
      camera.capture(captures.back(), frame, output);
    }
  }
  for (const std::string& id : captures) {
    while (!camera.is_kept(id)) usleep(100'000);
  }
}

int main(int count, char** arguments) {
  if (count != 3 && count != 4) {
    std::cerr << "usage: camera SOCKET PACKAGE [posix | system-v | inline]\n";
    return 2;
  }
  try {
    run(arguments[1], arguments[2], count == 4 ? arguments[3] : "posix");
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
