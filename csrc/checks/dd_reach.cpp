// DD: how far an atom really sees. The energies of atoms must not depend on anything beyond the interaction range: neither
// by their gradients, nor by what changes when everything beyond it is taken away, as it is on the rank that has these atoms.
// How far that is can depend on where atoms are and how many, so chains and random places of several densities are tried.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "mtt/checks/scattered.hpp"
#include "mtt/engines/uses.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

/// Positions are rounded: an atom at the range is not beyond it.
constexpr double margin = 1 + 1e-9;
/// Gradients that are this many roundings of the largest one are noise.
constexpr double roundings = 64.0;
/// A simulation meets many more geometries than are tried here: an influence of this part of the tolerance can grow to
/// all of it. Influences that are smaller exist: attention that keeps a weight of 1e-15 for what it masks connects atoms
/// at any distance, and no engine can notice.
constexpr double small_part = 1e-3;

/// Atoms of a system, the sum of whose energies is looked at.
using Atoms = std::vector<int32_t>;

/// What energies of atoms show of others.
class Reach {
public:
    explicit Reach(Context& context):
        context_(context), range_(context.capabilities().interaction_range),
        noticeable_(small_part * relative_tolerance(Agreement::repeat, context.capabilities().dtype)),
        rounding_(roundings * context.precise().capabilities().epsilon()),
        change_(std::max(relative_tolerance(Agreement::repeat, context.precise().capabilities().dtype), noticeable_)) {}

    /// Groups of atoms of one system that know nothing of each other, such as chains far apart: for each the atoms
    /// whose energies are looked at, and all of its atoms.
    struct Group {
        Atoms centers;
        Atoms members;
    };

    void look(const System& system, const std::vector<Group>& groups);
    /// The same with all atoms.
    void look(const System& system, const Atoms& centers) {
        Atoms all(system.size());
        for (size_t i = 0; i < all.size(); ++i) {
            all[i] = int32_t(i);
        }
        look(system, {{centers, all}});
    }
    /// Whether the energies of the last look()'s group depend on an atom.
    [[nodiscard]] bool felt(size_t group, int32_t atom) const {
        return !(forces_[size_t(atom)] <= limit_of(group));
    }
    /// Atoms far from all others show how large noise is: where they have none at all, a model that runs in float32 only
    /// shows influences that are smaller than its epsilon.
    void learn_noise();

    [[nodiscard]] bool anything_beyond() const { return outside_ > 0; }
    /// Largest distance with an influence that can be noticed.
    [[nodiscard]] double farthest() const { return farthest_; }
    [[nodiscard]] const Comparison& comparison() const { return comparison_; }
    /// Largest change of a force when atoms beyond the range are taken away, in parts of the largest force.
    [[nodiscard]] double changed_part() const { return changed_part_; }

private:
    static constexpr double tiny = 1e-30;

    [[nodiscard]] double limit_of(size_t group) const {
        return std::max({noticeable_ * largest_[group], rounding_ * biggest_, tiny});
    }

    /// The energies of all centers together, and what they do to each atom if that is asked for.
    [[nodiscard]] Properties seen_by(const System& system, const std::vector<Group>& groups, bool gradients) const {
        Call call;
        call.systems = {system};
        call.select = Select::listed;
        call.gradients = gradients;
        call.strain = false;
        for (const auto& group : groups) {
            for (const int32_t atom : group.centers) {
                call.selected.emplace_back(0, atom);
            }
        }
        const auto answer = context_.precise().evaluate(call);
        Properties out;
        out.energy = std::accumulate(answer.values.begin(), answer.values.end(), 0.0);
        if (gradients) {
            out.forces = answer.forces.at(0);
        }
        return out;
    }
    [[nodiscard]] bool same_energy(const System& rest, const std::vector<Group>& groups, const Properties& before) const;
    void take_away(const System& system, const std::vector<Group>& groups, const Properties& before,
                   const std::vector<bool>& beyond);

    Context& context_;
    double range_;
    /// Of a gradient, relative to the largest of the same energies; relative to the largest of all; of a change.
    double noticeable_;
    double rounding_;
    double change_;
    /// Size of the force on each atom, the largest of each group and of all.
    std::vector<double> forces_;
    std::vector<double> largest_;
    double biggest_ = 0.0;
    /// Largest in the first system, below which those of others do not set the scale: one without neighbors has noise only.
    double reference_ = 0.0;
    Comparison comparison_;
    double farthest_ = 0.0;
    double changed_part_ = 0.0;
    size_t outside_ = 0;
};

void Reach::learn_noise() {
    if (context_.precise().capabilities().dtype != "float32") {
        return;
    }
    std::mt19937_64 random(13);
    auto system = cluster(context_.types(), {2, 2, 2}, context_.spacing(), random);
    const auto n = int32_t(system.size());
    for (int k = 1; k <= 3; ++k) {
        system.types.push_back(system.types[size_t(k)]);
        system.positions.push_back({k * 4 * std::max({range_, context_.cutoff(), context_.spacing()}), 0, 0});
    }
    Group group;
    for (int32_t i = 0; i < n; ++i) {
        group.centers.push_back(i);
    }
    const auto seen = seen_by(system, {group}, true).forces;
    const double noise = largest(std::vector<Vec3>(seen.begin() + n, seen.end())) / std::max(largest(seen), tiny);
    rounding_ = std::min(rounding_, roundings * std::max(std::numeric_limits<double>::epsilon(), noise));
}

void Reach::look(const System& system, const std::vector<Group>& groups) {
    const auto seen = seen_by(system, groups, true);
    const auto& before = seen.forces;
    forces_.assign(system.size(), 0.0);
    largest_.assign(groups.size(), 0.0);
    std::vector<bool> beyond(system.size(), false);
    bool any = false;
    reference_ = reference_ > 0 ? reference_ : largest(before);
    biggest_ = std::max(largest(before), reference_);
    for (size_t g = 0; g < groups.size(); ++g) {
        for (const int32_t atom : groups[g].members) {
            forces_[size_t(atom)] = largest(std::vector<Vec3>{before[size_t(atom)]});
            largest_[g] = std::max(largest_[g], forces_[size_t(atom)]);
        }
    }
    for (size_t g = 0; g < groups.size(); ++g) {
        for (const int32_t atom : groups[g].members) {
            double distance = std::numeric_limits<double>::infinity();
            for (const int32_t center : groups[g].centers) {
                distance = std::min(distance, closest_distance(system, size_t(center), size_t(atom)));
            }
            if (felt(g, atom)) {
                farthest_ = std::max(farthest_, distance);
            }
            if (distance > range_ * margin) {
                ++outside_;
                any = beyond[size_t(atom)] = true;
                comparison_.add(forces_[size_t(atom)], limit_of(g),
                                "gradient by an atom " + short_number(distance) + " away in " + system.name);
            }
        }
    }
    if (any) {
        take_away(system, groups, seen, beyond);
    }
}

/// Whether the energy is the same but for its rounding, where that is far below what forces may change by: then forces are
/// the same as well, and they cost more than twice as much.
bool Reach::same_energy(const System& rest, const std::vector<Group>& groups, const Properties& before) const {
    const double scale = largest_[0] * context_.capabilities().angstrom;
    const double rounding = roundings * context_.precise().capabilities().epsilon() * std::max(std::abs(before.energy), scale);
    return groups.size() == 1 && rounding < small_part * change_ * scale &&
           std::abs(seen_by(rest, groups, false).energy - before.energy) <= rounding;
}

/// An atom can count where no gradient shows it: a number of neighbors that does not change when one of them moves.
void Reach::take_away(const System& system, const std::vector<Group>& groups, const Properties& before,
                      const std::vector<bool>& beyond) {
    System rest = system;
    rest.types.clear();
    rest.positions.clear();
    Atoms place(system.size(), -1);
    for (size_t i = 0; i < system.size(); ++i) {
        if (!beyond[i]) {
            place[i] = int32_t(rest.size());
            rest.types.push_back(system.types[i]);
            rest.positions.push_back(system.positions[i]);
        }
    }
    auto moved = groups;
    for (auto& group : moved) {
        for (auto& atom : group.centers) {
            atom = place[size_t(atom)];
        }
    }
    if (same_energy(rest, moved, before)) {
        comparison_.add(0.0, change_ * largest_[0], "forces in " + system.name + " without the atoms beyond the range");
        return;
    }
    const auto after = seen_by(rest, moved, true).forces;
    for (size_t g = 0; g < groups.size(); ++g) {
        double change = 0.0;
        double distance = 0.0;
        for (const int32_t atom : groups[g].members) {
            if (!beyond[size_t(atom)]) {
                const double difference = largest(std::vector<Vec3>{after[size_t(place[size_t(atom)])] - before.forces[size_t(atom)]});
                change = std::isnan(difference) ? difference : std::max(change, difference);
                continue;
            }
            for (const int32_t center : groups[g].centers) {
                const double apart = closest_distance(system, size_t(center), size_t(atom));
                distance = distance == 0.0 ? apart : std::min(distance, apart);
            }
        }
        if (distance == 0.0) {
            continue;
        }
        const double limit = std::max({change_ * largest_[g], rounding_ * biggest_, tiny});
        comparison_.add(change, limit, "forces in " + system.name + " without the atoms beyond the range");
        if (!(change <= limit)) {
            farthest_ = std::max(farthest_, distance);
        }
        changed_part_ = std::max(changed_part_, change / std::max(largest_[g], tiny));
    }
}

/// Straight chains of atoms, in one system but far apart: nothing else takes a message as far in as many steps.
class Chains {
public:
    explicit Chains(Context& context):
        types_(context.types()),
        apart_(4 * std::max({context.capabilities().interaction_range, context.cutoff(), context.spacing()})) {
        system_.name = "chains of atoms";
    }

    void add(int steps, double length) {
        // Side by side in a square, so that coordinates stay small.
        const int number = int(groups_.size());
        const int row = int(std::sqrt(double(number)));
        const int rest = number - row * row;
        const Vec3 start = {0, apart_ * std::min(row, rest), apart_ * std::min(row, 2 * row - rest)};
        Reach::Group group;
        for (int k = 0; k <= steps; ++k) {
            group.members.push_back(int32_t(system_.size()));
            system_.types.push_back(types_[size_t(k + number) % types_.size()]);
            system_.positions.push_back(start + Vec3{k * length / steps, 0, 0});
        }
        group.centers = {group.members.front()};
        groups_.push_back(group);
        lengths_.push_back({steps, length});
    }

    /// Number of steps and length of the longest chain whose ends know of each other; none: {0, 0}.
    std::pair<int, double> look(Reach& reach) const {
        std::pair<int, double> out{0, 0.0};
        if (groups_.empty()) {
            return out;
        }
        reach.look(system_, groups_);
        for (size_t g = 0; g < groups_.size(); ++g) {
            if (lengths_[g].second > out.second && reach.felt(g, groups_[g].members.back())) {
                out = lengths_[g];
            }
        }
        return out;
    }

private:
    std::vector<int32_t> types_;
    double apart_;
    System system_;
    std::vector<Reach::Group> groups_;
    std::vector<std::pair<int, double>> lengths_;
};

void look_along_chains(Context& context, Reach& reach) {
    const double range = context.capabilities().interaction_range;
    const double cutoff = context.cutoff();
    if (!(cutoff > 0)) {
        return;
    }
    const int layers = int(std::ceil(range / cutoff - 1e-9));
    Chains chains(context);
    for (int steps = 1; steps <= std::clamp(layers + 3, 4, 10); ++steps) {
        for (const double part : {0.5, 0.7, 0.8, 0.9, 0.99, 1.0001}) {
            chains.add(steps, part * steps * cutoff);
        }
        // A range that is a little short shows here only: elsewhere no atom sits in the gap.
        for (const double excess : {0.001, 0.003, 0.01, 0.03, 0.1}) {
            const double length = range * (1 + excess);
            if (length > 0.5 * steps * cutoff && length < steps * cutoff) {
                chains.add(steps, length);
            }
        }
    }
    const auto [steps, length] = chains.look(reach);
    Chains finer(context);
    for (double longer = 1.01 * length; steps > 0 && longer < 1.25 * length && longer < 1.0001 * steps * cutoff;
         longer += 0.01 * length) {
        finer.add(steps, longer);
    }
    finer.look(reach);
}

/// Clusters and boxes just long enough that some atoms are beyond the range of others.
void look_at_scattered(Context& context, Reach& reach, std::vector<std::string>& names) {
    std::mt19937_64 random(13 + context.mode().seed);
    const double around = std::max(context.cutoff(), context.spacing());
    const bool quick = context.level() == Level::quick;
    for (int round = 0; round < (quick ? 2 : 3); ++round) {
        size_t number = 0;
        for (const double density : usual_densities) {
            for (const bool periodic : {false, true}) {
                if (periodic && quick && number++ % 2 == 0) {
                    continue;
                }
                const double length = (periodic ? 2 : 1) * context.capabilities().interaction_range + 1.4 * around;
                const auto system = scattered_system(context, density, periodic, length, periodic ? 36 : 28, random);
                const auto left = [&](size_t a, size_t b) { return system.positions[a][0] < system.positions[b][0]; };
                std::vector<size_t> order(system.size());
                std::iota(order.begin(), order.end(), 0);
                std::sort(order.begin(), order.end(), left);
                // All at one end, which is many in one call; by turns one of them, which sees others beyond its range.
                Atoms end;
                for (const size_t i : order) {
                    if (end.empty() || system.positions[i][0] < 0.4 * around) {
                        end.push_back(int32_t(i));
                    }
                }
                const bool alone = !periodic && round % 2 == 1;
                reach.look(system, alone ? Atoms{end[uniform_index(random, end.size())]} : end);
                names.push_back(system.name);
            }
        }
    }
}

std::vector<Result> run(Context& context) {
    const std::string name = "receptive field";
    const auto& capabilities = context.capabilities();
    const double range = capabilities.interaction_range;
    if (!std::isfinite(range) || !(range >= 0)) {
        return {skipped(name, "the declared interaction range is not finite: engines may use one domain only")};
    }
    if (range > 40 * context.spacing()) {
        return {skipped(name, "the interaction range is too long for a small system")};
    }
    Reach reach(context);
    std::vector<std::string> names = {"chains of atoms"};
    reach.learn_noise();
    look_along_chains(context, reach);
    look_at_scattered(context, reach, names);
    if (!reach.anything_beyond()) {
        return {skipped(name, "no atom lies beyond the interaction range")};
    }
    const double field = reach.farthest();
    context.set_receptive_field(field);
    const std::string unit = capabilities.energy_unit + "/" + capabilities.length_unit;
    auto result = judged(
        name, reach.comparison(), unit,
        "the energy of an atom depends on atoms up to " + short_number(field) + " " + capabilities.length_unit +
        " away, the declared interaction range is " + short_number(range) +
        ": on several MPI ranks these are missing and energies and forces are silently wrong (forces by up to " +
        short_number(100 * reach.changed_part()) + " % where this was tried)"
    );
    result.systems = names;
    if (result.status == Status::fail) {
        return {std::move(result).because("range")};
    }
    result.message = "declared " + short_number(range) + ", influence seen up to " + short_number(field) + " " +
                     capabilities.length_unit;
    if (range > 1.1 * field && field > 0) {
        result.message += ": ranks exchange and evaluate ghost atoms in a layer " + short_number(range / field) +
                          " times as thick as needed";
    }
    return {result};
}

const Registered check({
    "DD", "reach",
    "The energy of an atom depends on nothing beyond the declared interaction range, in chains and at five densities: not by its "
    "gradient, nor by what changes when the atoms there are taken away.",
    "a thousandth of 'repeat' of the tolerance table, times the largest gradient of the same energy; more where rounding is: 64 times the "
    "machine epsilon for gradients, and 'repeat' for changes, of float64 where the model runs in it",
    {"receptive field"}, run, Level::quick, uses_with(&Use::decomposes),
});

}  // namespace

}  // namespace mtt
