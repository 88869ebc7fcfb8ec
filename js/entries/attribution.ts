import { define } from "../hosts/anywidget";
import { attribution } from "../views/attribution";

export default define("attribution", attribution);
