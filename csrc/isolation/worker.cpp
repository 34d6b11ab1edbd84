// The process that the model runs in: does what it is asked, one thing after the other, and judges nothing.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <new>

#include "mtt/isolation/orders.hpp"
#include "mtt/isolation/process.hpp"
#include "mtt/isolation/sandbox.hpp"
#include "mtt/model/golden.hpp"
#include "mtt/model/host.hpp"
#include "mtt/supervisor.hpp"

namespace mtt {

namespace {

constexpr int questions_fd = 0;
constexpr int answers_fd = channel_number;

/// Of error messages, which a model may make as long as it likes.
constexpr size_t longest_text = 4000;
constexpr size_t most_foreign = 1000;

/// If the supervisor is gone there is nothing left to do.
void demand_pipe(bool whole) {
    if (!whole) {
        _exit(1);
    }
}

std::string read_frame() {
    uint64_t size = 0;
    demand_pipe(read_all(questions_fd, reinterpret_cast<char*>(&size), sizeof size));
    std::string out(size, '\0');
    demand_pipe(read_all(questions_fd, out.data(), size));
    return out;
}

void write_frame(const std::string& content) { demand_pipe(write_all(answers_fd, framed(content))); }

/// What the checks want to know of the file.
FileFacts facts_of(const Archive& archive, const Orders& orders) {
    FileFacts out;
    out.kind = uint32_t(archive.kind());
    out.bytes = archive.bytes();
    out.records = archive.records();
    if (archive.kind() == FileKind::metatomic) {
        out.foreign = foreign_operators(archive, orders.allowed, orders.extensions.has_value());
        out.foreign.resize(std::min(out.foreign.size(), most_foreign));
        for (auto& item : out.foreign) {
            for (auto* text : {&item.name, &item.record, &item.why}) {
                *text = text->substr(0, 200);
            }
        }
    }
    for (const auto& name : out.records) {
        const bool code = name.compare(0, 5, "code/") == 0 && name.size() > 3 && name.substr(name.size() - 3) == ".py";
        const bool described = name.compare(0, 6, "extra/") == 0;
        if (code || described) {
            try {
                out.contents[name] = archive.read(name);
            } catch (const std::exception& error) {
                out.problems[name] = std::string(error.what()).substr(0, longest_text);
            }
        }
    }
    return out;
}

class Worker {
public:
    explicit Worker(const Orders& orders, Isolation isolation):
        orders_(orders), isolation_(std::move(isolation)), session_(prepare_torch(orders.threads)),
        archive_(std::make_shared<const Archive>(orders.path)),
        host_([this] { return load_model(archive_, orders_.extensions, orders_.allowed, orders_.units); }, nullptr) {}

    /// Until the end is asked for.
    void serve();

private:
    void answer(Question question, Unpacker& arguments, Packer& out);
    void answer_about(Question question, Model& model, Unpacker& arguments, Packer& out);
    void keep(std::unique_ptr<Model> model, Packer& out);
    Model& instance(Unpacker& arguments) { return *instances_.at(arguments.take<uint64_t>()); }

    Orders orders_;
    Isolation isolation_;
    std::shared_ptr<void> session_;
    std::shared_ptr<const Archive> archive_;
    LocalHost host_;
    std::map<uint64_t, std::unique_ptr<Model>> instances_;
    uint64_t next_ = 1;
    std::unique_ptr<Predictor> predictor_;
    std::vector<std::shared_ptr<void>> executors_;
};

void Worker::serve() {
    while (true) {
        Unpacker question(read_frame());
        const auto number = question.take<uint64_t>();
        const auto kind = question.take<Question>();
        auto outcome = Outcome::fine;
        std::string text;
        Packer content;
        try {
            answer(kind, question, content);
        } catch (const EngineError& error) {
            outcome = Outcome::engine_error;
            text = error.what();
        } catch (const std::bad_alloc& error) {
            outcome = Outcome::no_memory;
            text = error.what();
        } catch (const std::exception& error) {
            outcome = Outcome::error;
            // The first line is for people, the rest for the report.
            text = explain(error);
            text += text == error.what() ? "" : "\n" + std::string(error.what());
        } catch (...) {
            outcome = Outcome::strange;
        }
        Packer out;
        out(number, outcome);
        if (outcome != Outcome::fine) {
            out(text.substr(0, longest_text));
        }
        write_frame(out.take() + (outcome == Outcome::fine ? content.take() : ""));
        if (kind == Question::end) {
            return;
        }
    }
}

void Worker::keep(std::unique_ptr<Model> model, Packer& out) {
    const uint64_t id = next_++;
    out(Instance{id, model->capabilities(), model->requests()});
    instances_[id] = std::move(model);
}

void Worker::answer(Question question, Unpacker& arguments, Packer& out) {
    switch (question) {
        case Question::isolation: out(isolation_); return;
        case Question::file: out(facts_of(*archive_, orders_)); return;
        case Question::damaged: out(archive_->damaged_records()); return;
        case Question::load: keep(host_.load(), out); return;
        case Question::unload: instances_.erase(arguments.take<uint64_t>()); return;
        case Question::state: out(host_.state()); return;
        case Question::memory: out(host_.memory()); return;
        case Question::reset_peak: host_.reset_peak_memory(); return;
        case Question::push_executor: executors_.push_back(host_.with_executor(arguments.take<Executor>())); return;
        case Question::pop_executor: executors_.pop_back(); return;
        case Question::threads: out(host_.threads()); return;
        case Question::set_threads: host_.set_threads(arguments.take<int>()); return;
        case Question::has_cuda: out(host_.has_cuda()); return;
        case Question::side_by_side: {
            auto& first = instance(arguments);
            auto& second = instance(arguments);
            const auto calls = arguments.take<std::vector<Call>>();
            out(host_.side_by_side({&first, &second}, calls, arguments.take<int>()));
            return;
        }
        case Question::open_predictor:
            // Profiling and recompiling pay off over thousands of calls of one shape, not here.
            executors_.push_back(host_.with_executor({.optimize = false}));
            predictor_ = load_predictor(archive_, orders_.extensions, orders_.allowed, arguments.take<bool>());
            out(predictor_->capabilities());
            return;
        case Question::predict: {
            const auto systems = arguments.take<std::vector<System>>();
            out(predictor_->predict(systems, arguments.take<std::vector<Wanted>>()));
            return;
        }
        case Question::end: instances_.clear(); return;
        default: answer_about(question, instance(arguments), arguments, out);
    }
}

void Worker::answer_about(Question question, Model& model, Unpacker& arguments, Packer& out) {
    const auto keep_optional = [&](std::unique_ptr<Model> made) {
        out(made != nullptr);  // as an optional value is described
        if (made != nullptr) {
            keep(std::move(made), out);
        }
    };
    switch (question) {
        case Question::evaluate: out(model.evaluate(arguments.take<Call>())); return;
        case Question::ask_for:
            model.ask_for(arguments.take<std::string>());
            out(Instance{0, model.capabilities(), model.requests()});
            return;
        case Question::training_mode: out(model.modules_in_training_mode()); return;
        case Question::warnings: out(model.warnings()); return;
        case Question::widened: keep_optional(model.widened()); return;
        case Question::disturb: model.disturb(arguments.take<uint64_t>()); return;
        case Question::move_again: model.move_again(); return;
        case Question::on_device: keep_optional(model.on_device(arguments.take<std::string>())); return;
        case Question::left_on_cpu: out(model.left_on_cpu()); return;
        default: throw std::runtime_error("no such question");
    }
}

}  // namespace

int run_worker() {
    fcntl(answers_fd, F_SETFD, FD_CLOEXEC);
    const auto orders = orders_from_text(read_frame());
    std::vector<std::string> readable = {orders.path};
    if (orders.extensions.has_value()) {
        readable.push_back(*orders.extensions);
    }
    auto isolation = enter_sandbox({orders.memory_limit, orders.cpu_seconds, readable, orders.without});
    Worker(orders, std::move(isolation)).serve();
    return 0;
}

}  // namespace mtt
