#include "mtt/physics/domains.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>
#include <tuple>

namespace mtt {

namespace {

/// The axes of the decomposition: coordinates s with x = origin + s * frame, bricks between 0 and 1.
struct Box {
    Mat3 frame;
    Mat3 to_box;
    Vec3 origin{};
    Vec3 height{};

    [[nodiscard]] Vec3 coordinates(const Vec3& x) const { return (x - origin) * to_box; }
};

Box box_of(const System& system) {
    Box box;
    box.frame = full_frame(system);
    const Mat3 inverse_frame = inverse(box.frame);
    for (int k = 0; k < 3; ++k) {
        if (system.pbc[k] || system.size() == 0) {
            continue;
        }
        // Bounding box, a little wider, as "boundary s" does.
        double low = std::numeric_limits<double>::infinity();
        double high = -low;
        for (const auto& x : system.positions) {
            const double s = (x * inverse_frame)[k];
            low = std::min(low, s);
            high = std::max(high, s);
        }
        const double length = (high - low) * 1.0001 + 1e-3;
        box.origin = box.origin + (low - 0.00005 * length) * box.frame[k];
        box.frame[k] = length * box.frame[k];
    }
    box.to_box = inverse(box.frame);
    box.height = heights(box.frame);
    return box;
}

/// An atom of the whole system at a place where a domain can see it.
struct Image {
    size_t atom;
    std::array<int32_t, 3> shift;
    Vec3 position;
    bool local;
};

struct Brick {
    Vec3 low;
    Vec3 high;
};

/// Every image within the extended brick.
std::vector<Image> images_near(const System& system, const Box& box, const Brick& brick, double range) {
    std::vector<Image> out;
    for (size_t i = 0; i < system.size(); ++i) {
        const Vec3 s = box.coordinates(system.positions[i]);
        std::array<int32_t, 3> first{};
        std::array<int32_t, 3> last{};
        for (int k = 0; k < 3; ++k) {
            const double margin = range / box.height[k];
            first[k] = last[k] = 0;
            if (system.pbc[k]) {
                first[k] = int32_t(std::ceil(brick.low[k] - margin - s[k]));
                last[k] = int32_t(std::floor(brick.high[k] + margin - s[k]));
            } else if (s[k] < brick.low[k] - margin || s[k] > brick.high[k] + margin) {
                last[k] = -1;
            }
        }
        for (int32_t a = first[0]; a <= last[0]; ++a) {
            for (int32_t b = first[1]; b <= last[1]; ++b) {
                for (int32_t c = first[2]; c <= last[2]; ++c) {
                    const Vec3 n = {double(a), double(b), double(c)};
                    bool local = true;
                    for (int k = 0; k < 3; ++k) {
                        // Rounding in wrapping may put an atom at exactly 1: then its image at 0 is the local one.
                        const double position = s[k] + n[k];
                        local = local && position >= brick.low[k] && position < brick.high[k];
                    }
                    out.push_back({i, {a, b, c}, system.positions[i] + n * system.cell, local});
                }
            }
        }
    }
    return out;
}

/// Images by boxes with edges of a cutoff, so that each has its neighbors in boxes next to its own.
class Boxes {
public:
    Boxes(const std::vector<Image>& images, double cutoff): edge_(std::max(cutoff, 1e-6)) {
        for (size_t k = 0; k < images.size(); ++k) {
            boxes_[key(images[k].position)].push_back(k);
        }
    }

    template <typename Visit>
    void around(const Vec3& position, const Visit& visit) const {
        const auto middle = key(position);
        for (int64_t a = -1; a <= 1; ++a) {
            for (int64_t b = -1; b <= 1; ++b) {
                for (int64_t c = -1; c <= 1; ++c) {
                    const auto box = boxes_.find({middle[0] + a, middle[1] + b, middle[2] + c});
                    if (box != boxes_.end()) {
                        std::for_each(box->second.begin(), box->second.end(), visit);
                    }
                }
            }
        }
    }

private:
    using Key = std::array<int64_t, 3>;

    [[nodiscard]] Key key(const Vec3& position) const {
        Key out{};
        for (int k = 0; k < 3; ++k) {
            out[k] = int64_t(std::floor(position[k] / edge_));
        }
        return out;
    }

    double edge_;
    std::map<Key, std::vector<size_t>> boxes_;
};

/// All pairs that any visible images show, named by the kept copies of their atoms; a full list.
PairList pairs_between(const std::vector<Image>& kept, const std::vector<Image>& images,
                       const std::vector<int32_t>& index_of, double cutoff) {
    using Key = std::tuple<int32_t, int32_t, std::array<int32_t, 3>>;
    const Boxes boxes(images, cutoff);
    std::map<Key, Pair> pairs;
    const auto shift_of = [&](const Image& image) {
        auto out = image.shift;
        const auto& home = kept[size_t(index_of[image.atom])].shift;
        for (int k = 0; k < 3; ++k) {
            out[k] -= home[k];
        }
        return out;
    };
    for (size_t k = 0; k < images.size(); ++k) {
        const auto& first = images[k];
        const auto from = shift_of(first);
        boxes.around(first.position, [&](size_t other) {
            const auto& second = images[other];
            const Vec3 vector = second.position - first.position;
            if (other == k || dot(vector, vector) > cutoff * cutoff) {
                return;
            }
            Pair pair{index_of[first.atom], index_of[second.atom], shift_of(second), vector};
            for (int d = 0; d < 3; ++d) {
                pair.shift[d] -= from[d];
            }
            pairs.emplace(Key{pair.first, pair.second, pair.shift}, pair);
        });
    }
    PairList out;
    for (const auto& [key, pair] : pairs) {
        out.push_back(pair);
    }
    return out;
}

Domain make_domain(const System& system, const Box& box, const Brick& brick, double range,
                   const std::vector<NeighborRequest>& requests, std::mt19937_64& random) {
    const auto images = images_near(system, box, brick, range);
    const Vec3 middle = box.origin + (0.5 * (brick.low + brick.high)) * box.frame;
    // One image per atom: the local one, otherwise the closest to the middle of the brick.
    std::vector<const Image*> chosen(system.size(), nullptr);
    for (const auto& image : images) {
        const Image*& best = chosen[image.atom];
        if (best == nullptr || image.local ||
            (!best->local && norm(image.position - middle) < norm(best->position - middle))) {
            best = &image;
        }
    }
    std::vector<Image> kept;
    for (const bool local : {true, false}) {
        for (const auto* image : chosen) {
            if (image != nullptr && image->local == local) {
                kept.push_back(*image);
            }
        }
    }
    Domain domain;
    domain.system.name = system.name;
    domain.system.cell = system.cell;
    domain.system.pbc = system.pbc;
    domain.system.charge = system.charge;
    domain.system.spin_multiplicity = system.spin_multiplicity;
    std::vector<int32_t> index_of(system.size(), -1);
    for (size_t k = 0; k < kept.size(); ++k) {
        index_of[kept[k].atom] = int32_t(k);
        domain.system.types.push_back(system.types[kept[k].atom]);
        domain.system.positions.push_back(kept[k].position);
        domain.origin.push_back(kept[k].atom);
        domain.n_local += kept[k].local ? 1 : 0;
    }
    domain.unseen = system.size() - kept.size();
    for (const auto& request : requests) {
        auto pairs = pairs_between(kept, images, index_of, request.cutoff);
        if (!request.full) {
            pairs = half_of(pairs);
        }
        shuffle(pairs, random);
        domain.pairs.push_back(std::move(pairs));
    }
    return domain;
}

}  // namespace

std::vector<Domain> decompose(
    const System& system, const std::array<int, 3>& grid, double range, const std::vector<NeighborRequest>& requests,
    uint64_t seed
) {
    if (!std::isfinite(range)) {
        throw std::invalid_argument("a system can not be decomposed with an infinite interaction range");
    }
    std::mt19937_64 random(seed);
    // Engines wrap atoms into the box before they hand them out to ranks.
    const System inside = wrapped(system);
    const Box box = box_of(inside);
    std::vector<Domain> out;
    for (int a = 0; a < grid[0]; ++a) {
        for (int b = 0; b < grid[1]; ++b) {
            for (int c = 0; c < grid[2]; ++c) {
                const std::array<int, 3> cell = {a, b, c};
                Brick brick{};
                for (int k = 0; k < 3; ++k) {
                    brick.low[k] = double(cell[k]) / grid[k];
                    brick.high[k] = double(cell[k] + 1) / grid[k];
                }
                out.push_back(make_domain(inside, box, brick, range, requests, random));
            }
        }
    }
    return out;
}

Call call_of(const Domain& domain, Kind kind) {
    Call call;
    call.systems = {domain.system};
    call.pairs = {domain.pairs};
    call.kind = kind;
    call.select = Select::listed;
    for (size_t i = 0; i < domain.n_local; ++i) {
        call.selected.emplace_back(0, int32_t(i));
    }
    return call;
}

void add_derivatives(Properties& total, const Domain& domain, const Answer& answer) {
    for (size_t k = 0; k < domain.origin.size(); ++k) {
        total.forces[domain.origin[k]] = total.forces[domain.origin[k]] + answer.forces.at(0).at(k);
    }
    for (int k = 0; k < 3; ++k) {
        total.virial[k] = total.virial[k] + answer.virials.at(0)[k];
    }
}

Properties evaluate_domains(Model& model, const std::vector<Domain>& domains, size_t n_atoms) {
    Properties total;
    total.forces.assign(n_atoms, Vec3{});
    for (const auto& domain : domains) {
        const auto answer = model.evaluate(call_of(domain, Kind::system));
        if (domain.n_local == 0 && answer.values.size() != 1) {
            throw EngineError(
                "the model returned " + std::to_string(answer.values.size()) + " rows instead of one row of zero"
            );
        }
        total.energy += single_row(answer);
        add_derivatives(total, domain, answer);
    }
    return total;
}

}  // namespace mtt
