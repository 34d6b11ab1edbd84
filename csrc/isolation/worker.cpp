// The process that the model runs in.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <iterator>

#include "mtt/isolation/orders.hpp"
#include "mtt/isolation/sandbox.hpp"
#include "mtt/isolation/wire.hpp"
#include "mtt/runner/runner.hpp"
#include "mtt/supervisor.hpp"

namespace mtt {

namespace {

constexpr int channel = 3;

using nlohmann::json;

/// Writes whole lines. If the supervisor does not listen any more there is nothing left to do.
class Channel {
public:
    explicit Channel(std::string token): token_(std::move(token)) {}

    void send(const char* kind, const json& content) const {
        const std::string line = token_ + dump({{"kind", kind}, {"content", content}});
        for (size_t sent = 0; sent < line.size();) {
            const ssize_t count = write(channel, line.data() + sent, line.size() - sent);
            if (count < 0 && errno != EINTR) {
                _exit(1);
            }
            sent += count > 0 ? size_t(count) : 0;
        }
    }

private:
    std::string token_;
};

json file_json(const Report& file) {
    json extensions = json::array();
    for (const auto& extension : file.extensions) {
        extensions.push_back({extension.name, extension.sha256});
    }
    return {{"torch", file.torch}, {"metatensor_torch", file.metatensor_torch},
            {"metatomic_torch", file.metatomic_torch}, {"bytes", file.bytes}, {"extensions", extensions}};
}

/// After each check, since it may be the last that this process finishes.
json model_json(Runner& runner, bool with_record) {
    Report report;
    runner.describe_model(report);
    return {
        {"model", report.model.has_value() ? to_json(*report.model) : json(nullptr)},
        {"golden_pack", report.golden_pack}, {"calls", report.calls},
        {"recorded", with_record && report.recorded.has_value() ? json(*report.recorded) : json(nullptr)},
    };
}

void run_checks(const Orders& orders, const Channel& out) {
    Runner runner(orders.options, [&out](bool begins) { out.send("loading", begins); });
    runner.on_target([&out](const std::string& name) { out.send("target", name); });
    Report file;
    runner.describe_file(file);
    out.send("file", file_json(file));
    const auto selection = select_checks(orders.options);
    bool recorded = false;
    for (size_t k = orders.first; k < selection.size(); ++k) {
        if (selection[k].wanted.empty()) {
            continue;
        }
        out.send("begin", k);
        json results = json::array();
        for (const auto& result : runner.run(selection[k])) {
            results.push_back(to_json(result));
        }
        json content = model_json(runner, !recorded);  // what was recorded may be long
        recorded = recorded || !content["recorded"].is_null();
        content["check"] = k;
        content["results"] = results;
        content["problem"] = runner.problem();
        out.send("done", content);
    }
}

std::vector<std::string> needed_files(const VerifyOptions& options) {
    std::vector<std::string> out = {options.path};
    for (const auto& path : {options.extensions, options.against}) {
        if (path.has_value()) {
            out.push_back(*path);
        }
    }
    return out;
}

}  // namespace

int run_worker() {
    fcntl(channel, F_SETFD, FD_CLOEXEC);
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    const auto orders = orders_from_text(text);
    const Channel out(orders.token);
    const auto isolation = enter_sandbox(
        {orders.options.memory_limit, orders.cpu_seconds, needed_files(orders.options), orders.without}
    );
    if (!isolation.protects && orders.options.require_sandbox) {
        out.send("refused", nullptr);
        return 0;
    }
    out.send("isolation", to_json(isolation));
    run_checks(orders, out);
    out.send("end", nullptr);
    return 0;
}

}  // namespace mtt
