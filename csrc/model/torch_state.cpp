// State of libtorch that belongs to the whole process, and the texts that libtorch and metatomic give to people.
#include <torch/script.h>
#include <ATen/autocast_mode.h>
#include <torch/headeronly/version.h>

#include <metatensor/torch.hpp>
#include <metatomic/torch.hpp>

#include <mutex>
#include <sstream>

#include "mtt/isolation/machine.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

namespace {

/// Keeps what libtorch and the model warn about, instead of printing it in the middle of a report.
class WarningCollector final : public c10::WarningHandler {
public:
    void process(const c10::Warning& warning) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (messages_.size() < 50) {
            messages_.push_back(warning.msg());
        }
    }
    std::vector<std::string> messages() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return messages_;
    }

private:
    std::mutex mutex_;
    std::vector<std::string> messages_;
};

WarningCollector& collector() {
    static WarningCollector instance;
    return instance;
}

std::string yes(bool value) { return value ? "on" : "off"; }

}  // namespace

std::vector<std::string> torch_warnings() { return collector().messages(); }

std::shared_ptr<void> prepare_torch(int threads) {
    if (threads > 0) {
        at::set_num_threads(threads);
    }
    torch::jit::FusionStrategy strategy = {{torch::jit::FusionBehavior::DYNAMIC, 10}};
    auto old_strategy = torch::jit::setFusionStrategy(strategy);
    auto* old_handler = c10::WarningUtils::get_warning_handler();
    c10::WarningUtils::set_warning_handler(&collector());
    return {nullptr, [old_strategy, old_handler](void*) mutable {
        c10::WarningUtils::set_warning_handler(old_handler);
        torch::jit::setFusionStrategy(old_strategy);
    }};
}

std::shared_ptr<void> prepare_thread() {
    const int old_threads = at::get_num_threads();
    at::set_num_threads(1);
    auto* old_handler = c10::WarningUtils::get_warning_handler();
    c10::WarningUtils::set_warning_handler(&collector());
    return {nullptr, [=](void*) {
        c10::WarningUtils::set_warning_handler(old_handler);
        at::set_num_threads(old_threads);
    }};
}

int torch_threads() { return at::get_num_threads(); }

void set_torch_threads(int threads) { at::set_num_threads(threads); }

bool cuda_available() { return torch::cuda::is_available(); }

std::shared_ptr<void> with_executor(const Executor& executor) {
    const bool profiling = torch::jit::getProfilingMode().exchange(executor.profiling);
    const bool optimize = torch::jit::getGraphExecutorOptimize();
    torch::jit::setGraphExecutorOptimize(executor.optimize);
    auto& context = at::globalContext();
    const bool deterministic = context.deterministicAlgorithms();
    const bool warn_only = context.deterministicAlgorithmsWarnOnly();
    if (executor.deterministic) {
        context.setDeterministicAlgorithms(true, /*warn_only=*/true);
    }
    return {nullptr, [=](void*) {
        torch::jit::getProfilingMode() = profiling;
        torch::jit::setGraphExecutorOptimize(optimize);
        at::globalContext().setDeterministicAlgorithms(deterministic, warn_only);
    }};
}

std::map<std::string, std::string> torch_state() {
    const auto& context = at::globalContext();
    std::string fusion;
    for (const auto& [behavior, depth] : torch::jit::getFusionStrategy()) {
        fusion += (behavior == torch::jit::FusionBehavior::DYNAMIC ? "dynamic " : "static ") + std::to_string(depth) + ";";
    }
    return {
        {"default dtype", std::string(torch::get_default_dtype().name())},
        {"number of threads", std::to_string(at::get_num_threads())},
        {"gradient mode", yes(at::GradMode::is_enabled())},
        {"inference mode", yes(c10::InferenceMode::is_enabled())},
        {"autocast", yes(at::autocast::is_autocast_enabled(at::kCPU))},
        {"deterministic algorithms", yes(context.deterministicAlgorithms())},
        {"cuDNN benchmark", yes(context.benchmarkCuDNN())},
        {"TorchScript profiling", yes(torch::jit::getProfilingMode())},
        {"TorchScript optimization", yes(torch::jit::getGraphExecutorOptimize())},
        {"TorchScript fusion", fusion},
    };
}

std::map<std::string, std::string> shared_state() {
    auto out = process_state();
    out.merge(torch_state());
    return out;
}

double unit_factor(const std::string& from, const std::string& to) {
    return metatomic_torch::unit_conversion_factor(from, to);
}

std::string explain(const std::exception& error) {
    const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
    const std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        if (line.find_first_not_of(" \t~^.<-") != std::string::npos) {
            lines.push_back(line);
        }
    }
    if (lines.empty()) {
        return "an error without a message";
    }
    // TorchScript prints a traceback with the reason in its last line.
    const bool traceback = lines[0].find("TorchScript interpreter") != std::string::npos;
    if (traceback) {
        const std::string python = "builtins.";  // of RuntimeError and the like
        return lines.back().compare(0, python.size(), python) == 0 ? lines.back().substr(python.size()) : lines.back();
    }
    const bool announces = lines.size() > 1 && lines[0].back() == ':';
    return announces ? lines[0] + " " + lines[1].substr(lines[1].find_first_not_of(" \t")) : lines[0];
}

LibraryVersions library_versions() {
    return {TORCH_VERSION, METATENSOR_TORCH_VERSION, METATOMIC_TORCH_VERSION};
}

}  // namespace mtt
