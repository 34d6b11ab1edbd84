#include "mtt/verify.hpp"

#include <chrono>

#include "mtt/model/host.hpp"
#include "mtt/runner/files.hpp"
#include "mtt/runner/runner.hpp"
#include "mtt/runner/verdicts.hpp"

namespace mtt {

namespace {

std::unique_ptr<Model> load_guarded(const std::shared_ptr<const Archive>& archive, const VerifyOptions& options) {
    try {
        return load_model(archive, options.extensions, options.allowed_operators,
                          {options.length_unit, options.energy_unit});
    } catch (const std::exception&) {
        throw;
    } catch (...) {
        throw StrangeException{};
    }
}

}  // namespace

Report verify(const VerifyOptions& options) {
    const auto start = std::chrono::steady_clock::now();
    const auto selection = select_checks(options);
    check_input(options.path);
    const auto session = prepare_torch(options.threads);
    const auto archive = std::make_shared<const Archive>(options.path);
    const auto load = [&] { return load_guarded(archive, options); };
    Runner runner(options, std::make_shared<LocalHost>(
        load, archive, foreign_operators(*archive, options.allowed_operators, options.extensions.has_value())
    ));
    Report report;
    describe_options(options, report);
    runner.describe_file(report);
    report.sha256 = file_sha256(options.path);
    report.isolation.notes.emplace_back("the model ran in the process that wrote this report");
    for (const auto& selected : selection) {
        if (!selected.wanted.empty()) {
            if (options.progress) {
                options.progress(selected.check->family, selected.check->name);
            }
            add_results(*selected.check, runner.run(selected), report);
        }
        add_results(*selected.check, selected.waived, report);
    }
    if (!runner.problem().empty()) {
        add_load_failure(runner.problem(), report);
    }
    runner.describe_model(report);
    leave_out_domains(options, report);
    judge(report);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
}

}  // namespace mtt
